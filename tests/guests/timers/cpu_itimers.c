// ITIMER_VIRTUAL and ITIMER_PROF tick on while the program computes.
#include "../guest.h"
static volatile int virt, prof;
static void handler(int s)
{
    if (s == SIGVTALRM)
        virt++;
    else
        prof++;
}
int main(void)
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct itimerval it = {{0, 10000}, {0, 10000}}, got;
    SYS(sigaction(SIGVTALRM, &sa, NULL));
    SYS(sigaction(SIGPROF, &sa, NULL));
    SYS(setitimer(ITIMER_VIRTUAL, &it, NULL));
    SYS(setitimer(ITIMER_PROF, &it, NULL));
    guest_ready();
    int v = virt, p = prof;
    while (virt < v + 2 || prof < p + 2) {
    }
    SYS(getitimer(ITIMER_PROF, &got));
    CHECK_EQ("interval", 10000, got.it_interval.tv_usec);
    return 0;
}
