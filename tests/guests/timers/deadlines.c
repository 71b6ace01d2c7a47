// Points in time on CLOCK_MONOTONIC and CLOCK_BOOTTIME that were fixed before a checkpoint: nothing that waits for one
// ends before it, everything ends, and neither clock goes back.
#include "../guest.h"
#define SECONDS 2
static struct timespec deadline[2];
static const clockid_t clocks[2] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME};
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never;
static volatile int waiting;
static volatile sig_atomic_t fired;
static long long ns(struct timespec t) { return t.tv_sec * 1000000000ll + t.tv_nsec; }
static long long now(int which)
{
    struct timespec t;
    SYS(clock_gettime(clocks[which], &t));
    return ns(t);
}
static void reached(const char *what, int which)
{
    long long early = ns(deadline[which]) - now(which);
    if (early > 0)
        guest_fail("%s came %lld ns before its time", what, early);
}
static void *in_cond(void *x)
{
    PT(pthread_mutex_lock(&mutex));
    __sync_fetch_and_add(&waiting, 1);
    int r = pthread_cond_timedwait(&never, &mutex, &deadline[0]);
    CHECK_EQ("cond_timedwait", ETIMEDOUT, r);
    PT(pthread_mutex_unlock(&mutex));
    reached("cond_timedwait", 0);
    return x;
}
static void *in_futex(void *x)
{
    static int word = 1;
    __sync_fetch_and_add(&waiting, 1);
    long r = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 1, &deadline[0], NULL, FUTEX_BITSET_MATCH_ANY);
    int code = r == -1 ? errno : 0;
    CHECK_EQ("futex", ETIMEDOUT, code);
    reached("futex", 0);
    return x;
}
static void *in_sleep(void *x)
{
    int which = x != NULL;
    __sync_fetch_and_add(&waiting, 1);
    PT(clock_nanosleep(clocks[which], TIMER_ABSTIME, &deadline[which], NULL));
    reached("clock_nanosleep", which);
    return NULL;
}
static void *in_read(void *x)
{
    int which = x != NULL, fd = SYS(timerfd_create(clocks[which], TFD_CLOEXEC));
    struct itimerspec t = {{0, 0}, deadline[which]};
    uint64_t ticks;
    SYS(timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL));
    __sync_fetch_and_add(&waiting, 1);
    CHECK_EQ("read", 8, SYS(read(fd, &ticks, 8)));
    CHECK_EQ("ticks", 1, ticks);
    reached("timerfd", which);
    // One that is set anew counts from the clock as it is now.
    struct timespec soon;
    SYS(clock_gettime(clocks[which], &soon));
    soon.tv_nsec += 20000000;
    if (soon.tv_nsec >= 1000000000) {
        soon.tv_sec++;
        soon.tv_nsec -= 1000000000;
    }
    t.it_value = soon;
    SYS(timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL));
    CHECK_EQ("read", 8, SYS(read(fd, &ticks, 8)));
    CHECK(now(which) >= ns(soon));
    return NULL;
}
static void on_timer(int s)
{
    (void)s;
    reached("timer", 0);
    fired = 1;
}
int main(void)
{
    long long before[2], start[2];
    pthread_condattr_t attr;
    PT(pthread_condattr_init(&attr));
    PT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    PT(pthread_cond_init(&never, &attr));
    for (int i = 0; i < 2; i++) {
        SYS(clock_gettime(clocks[i], &deadline[i]));
        start[i] = ns(deadline[i]);
        deadline[i].tv_sec += SECONDS;
    }
    signal(SIGUSR1, on_timer);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec at = {{0, 0}, deadline[0]};
    SYS(timer_create(CLOCK_MONOTONIC, &event, &timer));
    SYS(timer_settime(timer, TIMER_ABSTIME, &at, NULL));
    pthread_t t[6] = {guest_thread(in_cond, NULL),  guest_thread(in_futex, NULL), guest_thread(in_sleep, NULL),
                      guest_thread(in_sleep, &at), guest_thread(in_read, NULL),  guest_thread(in_read, &at)};
    AWAIT(waiting == 6);
    before[0] = now(0);
    before[1] = now(1);
    guest_ready();
    for (int i = 0; i < 2; i++) {
        if (now(i) < before[i])
            guest_fail("clock %d went back from %lld to %lld", clocks[i], before[i], now(i));
        // A restart on another boot goes on from where it was, not from some other time.
        CHECK(now(i) - start[i] < 600 * 1000000000ll);
    }
    for (int i = 0; i < 6; i++)
        guest_join(t[i]);
    AWAIT(fired);
    return 0;
}
