// Timers in two processes tick independently.
#include "../guest.h"
static volatile int ticks;
static void handler(int s)
{
    (void)s;
    ticks++;
}
static void run(long ns)
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec it = {{0, ns}, {0, ns}}, got;
    timer_t t;
    SYS(sigaction(SIGUSR1, &sa, NULL));
    SYS(timer_create(CLOCK_MONOTONIC, &ev, &t));
    SYS(timer_settime(t, 0, &it, NULL));
    AWAIT(ticks);
    ns == 3000000 ? guest_note("child"), guest_await_go() : guest_ready();
    int before = ticks;
    AWAIT(ticks > before + 1);
    SYS(timer_gettime(t, &got));
    CHECK_EQ("interval", ns, got.it_interval.tv_nsec);
}
static void child(void) { run(3000000); }
int main(void)
{
    pid_t pid = guest_fork(child);
    guest_await("child");
    run(5000000);
    guest_reap(pid, 0);
    return 0;
}
