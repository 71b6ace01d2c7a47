// Nice values and scheduling policies, one per thread.
#include "../guest.h"
static volatile int ready;
static volatile pid_t tid[3];
static int base;
// The test itself may run with another nice value.
static int nicer(int by)
{
    return base + by > 19 ? 19 : base + by;
}
static void *run(void *x)
{
    int n = (long)x, policy = n == 0 ? SCHED_BATCH : n == 1 ? SCHED_IDLE : SCHED_OTHER;
    struct sched_param p = {0};
    tid[n] = gettid();
    SYS(sched_setscheduler(0, policy, &p));
    SYS(setpriority(PRIO_PROCESS, gettid(), nicer(5 + n)));
    __sync_fetch_and_add(&ready, 1);
    guest_await_go();
    int got;
    PT(pthread_getschedparam(pthread_self(), &got, &p));
    CHECK_EQ("sched_getscheduler", policy, sched_getscheduler(0));
    CHECK_EQ("by tid", policy, sched_getscheduler(gettid()));
    CHECK_EQ("nice", nicer(5 + n), getpriority(PRIO_PROCESS, 0));
    CHECK_EQ("nice by tid", nicer(5 + n), getpriority(PRIO_PROCESS, tid[n]));
    return NULL;
}
int main(void)
{
    base = getpriority(PRIO_PROCESS, 0);
    nice(2);
    guest_crowd(3, run, &ready);
    CHECK_EQ("nice of main", nicer(2), getpriority(PRIO_PROCESS, 0));
    CHECK_EQ("policy of main", SCHED_OTHER, sched_getscheduler(0));
    return 0;
}
