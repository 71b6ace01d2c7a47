// A program with PR_SET_DUMPABLE 0, threads and a child can be checkpointed.
#include "../guest.h"
static volatile int n;
static void *thread(void *x)
{
    while (!guest_going())
        n++;
    return x;
}
static void child(void)
{
    guest_await_go();
    CHECK_EQ("dumpable", 0, prctl(PR_GET_DUMPABLE));
}
int main(void)
{
    SYS(prctl(PR_SET_DUMPABLE, 0));
    pthread_t t = guest_thread(thread, NULL);
    pid_t kid = guest_fork(child);
    guest_ready();
    CHECK_EQ("dumpable", 0, prctl(PR_GET_DUMPABLE));
    guest_join(t);
    guest_reap(kid, 0);
    return 0;
}
