// An absolute deadline that passes after the restart ends the wait with ETIMEDOUT, never early.
#include "../guest.h"
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c;
static void *timed(void *arg)
{
    (void)arg;
    struct timespec end, now;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += 300000000;
    if (end.tv_nsec >= 1000000000)
        end.tv_nsec -= 1000000000, end.tv_sec++;
    PT(pthread_mutex_lock(&m));
    CHECK_EQ("timedwait", ETIMEDOUT, pthread_cond_timedwait(&c, &m, &end));
    PT(pthread_mutex_unlock(&m));
    clock_gettime(CLOCK_MONOTONIC, &now);
    CHECK(now.tv_sec > end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec));
    return NULL;
}
int main(void)
{
    pthread_condattr_t a;
    PT(pthread_condattr_init(&a));
    PT(pthread_condattr_setclock(&a, CLOCK_MONOTONIC));
    PT(pthread_cond_init(&c, &a));
    pthread_t t = guest_thread(timed, NULL);
    guest_ready();
    guest_join(t);
    return 0;
}
