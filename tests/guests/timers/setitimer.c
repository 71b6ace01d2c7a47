// ITIMER_REAL ticks on; a long one keeps its remaining time.
#include "../guest.h"
static volatile int ticks;
static void handler(int s)
{
    (void)s;
    ticks++;
}
int main(void)
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct itimerval it = {{0, 3000}, {0, 3000}}, got;
    SYS(sigaction(SIGALRM, &sa, NULL));
    SYS(setitimer(ITIMER_REAL, &it, NULL));
    AWAIT(ticks > 2);
    guest_ready();
    int before = ticks;
    AWAIT(ticks > before + 2);
    SYS(getitimer(ITIMER_REAL, &got));
    CHECK_EQ("interval", 3000, got.it_interval.tv_usec);
    return 0;
}
