// Waiters on condition variables: plain, timed on two clocks, signalled one by one.
#include "../guest.h"
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t plain = PTHREAD_COND_INITIALIZER, mono;
static volatile int waiting, token, woken;
static void *waits(void *arg)
{
    long kind = (long)arg;
    struct timespec far;
    clock_gettime(kind == 1 ? CLOCK_REALTIME : CLOCK_MONOTONIC, &far);
    far.tv_sec += 3600;
    PT(pthread_mutex_lock(&m));
    waiting++;
    while (!token)
        PT(kind == 0   ? pthread_cond_wait(&plain, &m)
           : kind == 1 ? pthread_cond_timedwait(&plain, &m, &far)
                       : pthread_cond_timedwait(&mono, &m, &far));
    token--;
    woken++;
    PT(pthread_mutex_unlock(&m));
    return NULL;
}
int main(void)
{
    pthread_condattr_t a;
    PT(pthread_condattr_init(&a));
    PT(pthread_condattr_setclock(&a, CLOCK_MONOTONIC));
    PT(pthread_cond_init(&mono, &a));
    pthread_t t[6];
    for (long i = 0; i < 6; i++)
        t[i] = guest_thread(waits, (void *)(i % 3));
    AWAIT(waiting == 6);
    guest_ready();
    PT(pthread_mutex_lock(&m));
    CHECK_EQ("woken early", 0, woken);
    PT(pthread_mutex_unlock(&m));
    for (int i = 1; i <= 6; i++) {
        PT(pthread_mutex_lock(&m));
        token++;
        PT(pthread_cond_broadcast(i & 1 ? &plain : &mono));
        PT(pthread_cond_broadcast(i & 1 ? &mono : &plain));
        PT(pthread_mutex_unlock(&m));
        AWAIT(woken == i);
    }
    for (int i = 0; i < 6; i++)
        guest_join(t[i]);
    return 0;
}
