// SIGEV_THREAD: the function is called in a thread, after too; a new timer works as well.
#include "../guest.h"
static volatile int calls[2];
static void tick(union sigval v) { __sync_fetch_and_add(&calls[v.sival_int], 1); }
static timer_t make(int n)
{
    timer_t t;
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = tick, .sigev_value.sival_int = n};
    struct itimerspec it = {{0, 5000000}, {0, 5000000}};
    SYS(timer_create(CLOCK_MONOTONIC, &ev, &t));
    SYS(timer_settime(t, 0, &it, NULL));
    return t;
}
int main(void)
{
    timer_t t = make(0);
    AWAIT(calls[0]);
    guest_ready();
    int before = calls[0];
    AWAIT(calls[0] > before + 1);
    make(1);
    AWAIT(calls[1] > 1);
    SYS(timer_delete(t));
    return 0;
}
