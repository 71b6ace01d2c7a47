// The main thread has ended; another one has a child, a timer and a stopped child, and forks once more.
#include "../guest.h"
static pthread_t first;
static volatile int ticks;
static void tick(int s) { (void)s, ticks++; }
static void child(void)
{
    guest_await_go();
    _exit(9);
}
static void *rest(void *x)
{
    (void)x;
    PT(pthread_join(first, NULL));
    signal(SIGALRM, tick);
    struct itimerval it = {{0, 5000}, {0, 5000}};
    pid_t kid = guest_fork(child);
    SYS(setitimer(ITIMER_REAL, &it, NULL));
    guest_ready();
    int before = ticks;
    AWAIT(ticks > before + 1);
    it = (struct itimerval){{0, 0}, {0, 0}};
    SYS(setitimer(ITIMER_REAL, &it, NULL));
    guest_reap(kid, 9);
    kid = guest_fork(child);
    guest_reap(kid, 9);
    exit(0);
}
int main(void)
{
    first = pthread_self();
    guest_thread(rest, NULL);
    pthread_exit(NULL);
}
