// A SCHED_FIFO and a SCHED_RR thread keep policy and priority.
#include "../guest.h"
static volatile int ready, refused;
static void *run(void *x)
{
    int policy = x ? SCHED_FIFO : SCHED_RR;
    struct sched_param p = {.sched_priority = 3}, got = {0};
    if (sched_setscheduler(0, policy, &p))
        refused = 1;
    __sync_fetch_and_add(&ready, 1);
    guest_await_go();
    int now;
    PT(pthread_getschedparam(pthread_self(), &now, &got));
    CHECK_EQ("policy", policy, sched_getscheduler(0));
    SYS(sched_getparam(0, &got));
    CHECK_EQ("priority", 3, got.sched_priority);
    return NULL;
}
int main(void)
{
    pthread_t a = guest_thread(run, NULL), b = guest_thread(run, "");
    AWAIT(ready == 2);
    if (refused)
        SKIP("real-time scheduling is not allowed here");
    guest_ready();
    guest_join(a);
    guest_join(b);
    return 0;
}
