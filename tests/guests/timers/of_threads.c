// Each thread has a timer on its own CPU clock, and one on another's.
#include "../guest.h"
static timer_t t[3];
static volatile int hits[3], ready;
static void handler(int s, siginfo_t *i, void *c)
{
    (void)s, (void)c;
    hits[i->si_value.sival_int]++;
}
static void *run(void *x)
{
    long n = (long)x;
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 6, .sigev_value.sival_int = n};
    struct itimerspec it = {{0, 0}, {0, 100000000}};
    SYS(timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &t[n]));
    SYS(timer_settime(t[n], 0, &it, NULL));
    __sync_fetch_and_add(&ready, 1);
    guest_await_go();
    // Thread 1 runs; the others sleep and their timers must not fire.
    while (n == 1 && !hits[1]) {
    }
    AWAIT(hits[1]);
    return NULL;
}
int main(void)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    pthread_t p[3];
    SYS(sigaction(SIGRTMIN + 6, &sa, NULL));
    for (long n = 0; n < 3; n++)
        p[n] = guest_thread(run, (void *)n);
    AWAIT(ready == 3);
    guest_ready();
    for (int n = 0; n < 3; n++)
        guest_join(p[n]);
    CHECK_EQ("timer of a thread that slept", 0, hits[0] + hits[2]);
    return 0;
}
