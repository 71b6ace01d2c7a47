// Threads hammer one mutex and a condition variable while checkpoints come.
#include "../guest.h"
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static volatile int stop;
static long shared, turns[2], turn;
static void *hammer(void *arg)
{
    long *mine = arg;
    while (!stop) {
        pthread_mutex_lock(&m);
        shared++;
        ++*mine;
        pthread_mutex_unlock(&m);
    }
    return NULL;
}
static void *ping_pong(void *arg)
{
    long me = (long)arg;
    PT(pthread_mutex_lock(&m));
    while (!stop) {
        while (turn != me && !stop)
            PT(pthread_cond_wait(&c, &m));
        turns[me]++;
        turn = !me;
        PT(pthread_cond_broadcast(&c));
    }
    PT(pthread_mutex_unlock(&m));
    return NULL;
}
int main(void)
{
    static long count[4];
    pthread_t t[6];
    for (int i = 0; i < 4; i++)
        t[i] = guest_thread(hammer, &count[i]);
    for (long i = 0; i < 2; i++)
        t[4 + i] = guest_thread(ping_pong, (void *)i);
    guest_ready();
    PT(pthread_mutex_lock(&m));
    long before = turns[0];
    PT(pthread_mutex_unlock(&m));
    AWAIT(*(volatile long *)&turns[0] > before + 10);
    PT(pthread_mutex_lock(&m));
    stop = 1;
    PT(pthread_cond_broadcast(&c));
    PT(pthread_mutex_unlock(&m));
    for (int i = 0; i < 6; i++)
        guest_join(t[i]);
    CHECK_EQ("sum", count[0] + count[1] + count[2] + count[3], shared);
    CHECK(labs(turns[0] - turns[1]) <= 2);
    return 0;
}
