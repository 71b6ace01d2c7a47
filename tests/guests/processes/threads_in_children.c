// Parent and child both with threads; the child was forked by a thread.
#include "../guest.h"
static volatile pid_t kid;
static void *counts(void *x)
{
    volatile int *n = x;
    do
        ++*n;
    while (!guest_going());
    return NULL;
}
static void work(void)
{
    volatile int n[3] = {0};
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        t[i] = guest_thread(counts, (void *)&n[i]);
    for (int i = 0; i < 3; i++) {
        guest_join(t[i]);
        CHECK(n[i] > 0);
    }
}
static void *forks(void *x)
{
    (void)x;
    kid = guest_fork(work);
    work();
    return NULL;
}
int main(void)
{
    pthread_t t = guest_thread(forks, NULL);
    AWAIT(kid);
    guest_ready();
    guest_join(t);
    guest_reap(kid, 0);
    return 0;
}
