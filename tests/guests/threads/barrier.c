// Three of four threads wait at a barrier; the fourth arrives after go.
#include "../guest.h"
static pthread_barrier_t b;
static volatile int serial, arrived;
static volatile pid_t tid[3];
static void *waits(void *x)
{
    tid[(long)x] = gettid();
    for (int round = 0; round < 3; round++)
        if (pthread_barrier_wait(&b) == PTHREAD_BARRIER_SERIAL_THREAD)
            __sync_fetch_and_add(&serial, 1);
    __sync_fetch_and_add(&arrived, 1);
    return NULL;
}
int main(void)
{
    PT(pthread_barrier_init(&b, NULL, 4));
    pthread_t t[3];
    for (long i = 0; i < 3; i++) {
        t[i] = guest_thread(waits, (void *)i);
        AWAIT(tid[i]);
        guest_await_in(tid[i], SYS_futex);
    }
    guest_ready();
    CHECK_EQ("passed early", 0, arrived);
    for (int round = 0; round < 3; round++)
        if (pthread_barrier_wait(&b) == PTHREAD_BARRIER_SERIAL_THREAD)
            __sync_fetch_and_add(&serial, 1);
    for (int i = 0; i < 3; i++)
        guest_join(t[i]);
    CHECK_EQ("serial threads", 3, serial);
    return 0;
}
