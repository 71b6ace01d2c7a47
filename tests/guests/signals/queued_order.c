// Queued real-time signals keep number, order and values.
#include "../guest.h"
static volatile int seen, last[3] = {-1, -1, -1};
static void handler(int s, siginfo_t *i, void *c)
{
    (void)c;
    int n = s - SIGRTMIN;
    if (i->si_value.sival_int != last[n] + 1)
        guest_fail("value of signal %d, expected %d, got %d", s, last[n] + 1, i->si_value.sival_int);
    last[n]++;
    seen++;
}
int main(void)
{
    sigset_t set;
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigemptyset(&set);
    for (int n = 0; n < 3; n++) {
        sigaddset(&set, SIGRTMIN + n);
        SYS(sigaction(SIGRTMIN + n, &sa, NULL));
    }
    SYS(sigprocmask(SIG_BLOCK, &set, NULL));
    for (int v = 0; v < 40; v++)
        for (int n = 0; n < 3; n++)
            SYS(sigqueue(getpid(), SIGRTMIN + n, (union sigval){.sival_int = v}));
    guest_ready();
    CHECK_EQ("handled early", 0, seen);
    SYS(sigprocmask(SIG_UNBLOCK, &set, NULL));
    CHECK_EQ("handled", 120, seen);
    return 0;
}
