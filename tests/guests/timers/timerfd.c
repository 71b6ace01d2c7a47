// timerfds: periodic, expired and unread, disarmed, absolute.
#include "../guest.h"
int main(void)
{
    struct itimerspec tick = {{0, 4000000}, {0, 4000000}}, once = {.it_value = {0, 1}}, far = {.it_value = {0}}, got;
    uint64_t n = 0;
    int a = SYS(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)), b = SYS(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK)),
        c = SYS(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)), d = SYS(timerfd_create(CLOCK_REALTIME, 0));
    SYS(timerfd_settime(a, 0, &tick, NULL));
    SYS(timerfd_settime(b, 0, &once, NULL));
    far.it_value.tv_sec = time(NULL) + 5000;
    SYS(timerfd_settime(d, TFD_TIMER_ABSTIME, &far, NULL));
    struct pollfd p = {.fd = b, .events = POLLIN};
    CHECK_EQ("poll", 1, poll(&p, 1, -1));
    guest_ready();
    CHECK_EQ("read", 8, SYS(read(a, &n, 8)));
    CHECK(n >= 1);
    CHECK_EQ("read again", 8, SYS(read(a, &n, 8)));
    SYS(timerfd_gettime(a, &got));
    CHECK_EQ("interval", 4000000, got.it_interval.tv_nsec);
    CHECK_EQ("unread expiry", 8, read(b, &n, 8));
    CHECK_EQ("expirations", 1, n);
    CHECK_EQ("disarmed", -1, read(c, &n, 8));
    SYS(timerfd_gettime(d, &got));
    CHECK(got.it_value.tv_sec > 4900 && got.it_value.tv_sec <= 5000);
    CHECK_EQ("cloexec", FD_CLOEXEC, fcntl(a, F_GETFD));
    return 0;
}
