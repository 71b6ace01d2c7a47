// Several POSIX timers with gaps between their ids, each with its signal and value.
#include "../guest.h"
static volatile int hits[8];
static void handler(int s, siginfo_t *i, void *c)
{
    (void)s, (void)c;
    CHECK_EQ("si_code", SI_TIMER, i->si_code);
    hits[i->si_value.sival_int]++;
}
int main(void)
{
    timer_t t[8];
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct itimerspec it = {{0, 5000000}, {0, 5000000}}, got;
    SYS(sigaction(SIGRTMIN + 4, &sa, NULL));
    for (int n = 0; n < 8; n++) {
        struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 4, .sigev_value.sival_int = n};
        SYS(timer_create(n & 1 ? CLOCK_REALTIME : CLOCK_MONOTONIC, &ev, &t[n]));
    }
    for (int n = 0; n < 8; n += 3)
        SYS(timer_delete(t[n]));
    for (int n = 1; n < 8; n += n == 2 || n == 5 ? 2 : 1)
        SYS(timer_settime(t[n], 0, &it, NULL));
    guest_ready();
    for (int n = 1; n < 8; n++) {
        if (n % 3 == 0)
            continue;
        int before = hits[n];
        AWAIT(hits[n] > before + 1);
        SYS(timer_gettime(t[n], &got));
        CHECK_EQ("interval", 5000000, got.it_interval.tv_nsec);
        CHECK(timer_getoverrun(t[n]) >= 0);
        SYS(timer_delete(t[n]));
        CHECK(timer_settime(t[n], 0, &it, NULL) == -1);
    }
    CHECK_EQ("deleted timer", 0, hits[0] + hits[3] + hits[6]);
    return 0;
}
