// Timers that have outlived whom they are about: on the CPU clock of a thread or process that has ended, or to tell a thread
// that has ended.
// args: thread_clock process_clock told
#include "../guest.h"
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
static const char *a;
#define IS(x) (!strcmp(a, x))
static timer_t t;
static struct itimerspec hour = {{0, 0}, {3600, 0}};
static struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
static void *run(void *x)
{
    if (IS("told")) {
        ev.sigev_notify = SIGEV_THREAD_ID;
        ev.sigev_notify_thread_id = gettid();
    }
    SYS(timer_create(IS("told") ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &ev, &t));
    SYS(timer_settime(t, 0, &hour, NULL));
    return x;
}
int main(int argc, char **argv)
{
    timer_t next;
    struct itimerspec left;
    (void)argc;
    a = argv[1];
    if (IS("process_clock")) {
        clockid_t clock;
        pid_t pid = guest_fork(guest_await_go);
        PT(clock_getcpuclockid(pid, &clock));
        SYS(timer_create(clock, &ev, &t));
        SYS(kill(pid, SIGKILL));
        CHECK_EQ("waitpid", pid, SYS(waitpid(pid, NULL, 0)));
    } else
        guest_join(guest_thread(run, NULL));
    SYS(timer_create(CLOCK_MONOTONIC, NULL, &next));
    guest_ready();
    SYS(timer_gettime(t, &left));
    CHECK_EQ("runs", IS("told"), left.it_value.tv_sec > 0);
    SYS(timer_delete(t));
    CHECK_EQ("deleted", -1, timer_gettime(t, &left));
    SYS(timer_delete(next));
    return 0;
}
