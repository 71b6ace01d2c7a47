// The CPU affinity of each thread.
#include "../guest.h"
static volatile int ready;
static cpu_set_t all;
static int nth(int n)
{
    for (int c = 0;; c = (c + 1) % CPU_SETSIZE)
        if (CPU_ISSET(c, &all) && n-- == 0)
            return c;
}
static void *run(void *x)
{
    cpu_set_t one, got;
    CPU_ZERO(&one);
    CPU_SET(nth((long)x), &one);
    SYS(sched_setaffinity(0, sizeof one, &one));
    __sync_fetch_and_add(&ready, 1);
    guest_await_go();
    PT(pthread_getaffinity_np(pthread_self(), sizeof got, &got));
    CHECK(CPU_EQUAL(&one, &got));
    CHECK_EQ("cpu", nth((long)x), sched_getcpu());
    return NULL;
}
int main(void)
{
    pthread_t t[3];
    cpu_set_t got;
    SYS(sched_getaffinity(0, sizeof all, &all));
    for (long i = 0; i < 3; i++)
        t[i] = guest_thread(run, (void *)i);
    AWAIT(ready == 3);
    guest_ready();
    SYS(sched_getaffinity(getpid(), sizeof got, &got));
    CHECK(CPU_EQUAL(&all, &got));
    for (int i = 0; i < 3; i++)
        guest_join(t[i]);
    return 0;
}
