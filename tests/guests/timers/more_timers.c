// POSIX timers of every clock and kind: what is armed fires, what is not stays quiet, settings hold.
// args: cputime thread_cputime none disarmed absolute boottime tai overrun oneshot_fired alarm_clock
#include "../guest.h"
static volatile int hits;
static volatile int overrun;
static timer_t t;
static void handler(int s, siginfo_t *i, void *c)
{
    (void)s, (void)c;
    hits++;
    overrun += i->si_overrun;
}
static void spin(void)
{
    for (volatile int i = 0; i < 1000000; i++) {
    }
}
int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 5};
    struct itimerspec it = {{0, 0}, {3600, 0}}, got;
    clockid_t clock = CLOCK_MONOTONIC;
    (void)argc;
    SYS(sigaction(SIGRTMIN + 5, &sa, NULL));
    if (guest_is(argv, "cputime"))
        clock = CLOCK_PROCESS_CPUTIME_ID;
    else if (guest_is(argv, "thread_cputime"))
        clock = CLOCK_THREAD_CPUTIME_ID;
    else if (guest_is(argv, "boottime"))
        clock = CLOCK_BOOTTIME;
    else if (guest_is(argv, "tai"))
        clock = CLOCK_TAI;
    else if (guest_is(argv, "alarm_clock"))
        clock = CLOCK_BOOTTIME_ALARM;
    if (guest_is(argv, "none"))
        ev.sigev_notify = SIGEV_NONE;
    if (timer_create(clock, &ev, &t))
        SKIP("timer_create: %s", strerror(errno));
    if (strstr(argv[1], "cputime"))
        it.it_value = (struct timespec){0, 300000000};
    else if (guest_is(argv, "overrun")) {
        sigset_t set;
        sigemptyset(&set), sigaddset(&set, SIGRTMIN + 5);
        SYS(sigprocmask(SIG_BLOCK, &set, NULL));
        it.it_value = it.it_interval = (struct timespec){0, 2000000};
    } else if (guest_is(argv, "oneshot_fired"))
        it.it_value = (struct timespec){0, 1000};
    if (guest_is(argv, "absolute")) {
        SYS(clock_gettime(CLOCK_MONOTONIC, &it.it_value));
        it.it_value.tv_sec += 3600;
        SYS(timer_settime(t, TIMER_ABSTIME, &it, NULL));
    } else if (!guest_is(argv, "disarmed"))
        SYS(timer_settime(t, 0, &it, NULL));
    if (guest_is(argv, "oneshot_fired"))
        AWAIT(hits == 1);
    guest_ready();
    SYS(timer_gettime(t, &got));
    if (guest_is(argv, "disarmed") || guest_is(argv, "oneshot_fired"))
        CHECK_EQ("remaining", 0, got.it_value.tv_sec + got.it_value.tv_nsec);
    else if (guest_is(argv, "overrun")) {
        sigset_t none;
        sigemptyset(&none);
        CHECK_EQ("hits", 0, hits);
        struct timespec begun, now;
        SYS(clock_gettime(CLOCK_MONOTONIC, &begun));
        do
            SYS(clock_gettime(CLOCK_MONOTONIC, &now));
        while ((now.tv_sec - begun.tv_sec) * 1000000000 + now.tv_nsec - begun.tv_nsec < 3 * it.it_interval.tv_nsec);
        SYS(sigprocmask(SIG_SETMASK, &none, NULL));
        AWAIT(hits > 2);
        CHECK(overrun > 0);
    } else if (strstr(argv[1], "cputime")) {
        CHECK(got.it_value.tv_nsec <= 300000000 && got.it_value.tv_sec == 0);
        while (!hits)
            spin();
    } else
        CHECK(got.it_value.tv_sec > 3500 && got.it_value.tv_sec <= 3600);
    if (guest_is(argv, "oneshot_fired"))
        CHECK_EQ("hits", 1, hits);
    SYS(timer_delete(t));
    return 0;
}
