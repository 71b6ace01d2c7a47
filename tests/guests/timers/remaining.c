// Long timers of every sort keep what remains of them.
#include "../guest.h"
int main(void)
{
    struct itimerspec it = {.it_value = {1000, 0}, .it_interval = {7, 0}}, got;
    struct itimerval itv = {.it_value = {2000, 0}}, gotv;
    struct sigevent none = {.sigev_notify = SIGEV_NONE};
    timer_t t;
    SYS(timer_create(CLOCK_MONOTONIC, &none, &t));
    SYS(timer_settime(t, 0, &it, NULL));
    SYS(setitimer(ITIMER_REAL, &itv, NULL));
    int fd = SYS(timerfd_create(CLOCK_BOOTTIME, 0));
    SYS(timerfd_settime(fd, 0, &it, NULL));
    guest_ready();
    SYS(timer_gettime(t, &got));
    CHECK(got.it_value.tv_sec > 900 && got.it_value.tv_sec <= 1000 && got.it_interval.tv_sec == 7);
    SYS(timerfd_gettime(fd, &got));
    CHECK(got.it_value.tv_sec > 900 && got.it_value.tv_sec <= 1000 && got.it_interval.tv_sec == 7);
    SYS(getitimer(ITIMER_REAL, &gotv));
    CHECK(gotv.it_value.tv_sec > 1900 && gotv.it_value.tv_sec <= 2000);
    CHECK(alarm(0) > 1900);
    return 0;
}
