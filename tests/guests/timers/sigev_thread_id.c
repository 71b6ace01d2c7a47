// SIGEV_THREAD_ID: the timer signals the thread that asked.
#include "../guest.h"
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
static volatile int ready, hits;
static volatile pid_t where;
static void handler(int s)
{
    (void)s;
    where = gettid();
    hits++;
}
static void *run(void *x)
{
    timer_t t;
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    struct itimerspec it = {{0, 5000000}, {0, 5000000}};
    pid_t me = gettid();
    (void)x;
    ev.sigev_notify_thread_id = me;
    SYS(timer_create(CLOCK_MONOTONIC, &ev, &t));
    SYS(timer_settime(t, 0, &it, NULL));
    ready = 1;
    guest_await_go();
    where = 0;
    AWAIT(where);
    CHECK_EQ("thread", me, where);
    SYS(timer_delete(t));
    return NULL;
}
int main(void)
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
    SYS(sigaction(SIGUSR1, &sa, NULL));
    pthread_t t = guest_thread(run, NULL);
    AWAIT(ready && hits);
    guest_ready();
    guest_join(t);
    return 0;
}
