// Threads are made and joined all the time while checkpoints come.
#include "../guest.h"
static volatile int stop;
static volatile long made;
static void *leaf(void *x) { return (void *)((long)x * 3); }
static void *maker(void *x)
{
    (void)x;
    for (long i = 0; !stop; i++) {
        pthread_t t = guest_thread(leaf, (void *)i);
        CHECK_EQ("value", i * 3, guest_join(t));
        __sync_fetch_and_add(&made, 1);
    }
    return NULL;
}
int main(void)
{
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        t[i] = guest_thread(maker, NULL);
    AWAIT(made > 20);
    guest_ready();
    long before = made;
    AWAIT(made > before + 20);
    stop = 1;
    for (int i = 0; i < 3; i++)
        guest_join(t[i]);
    return 0;
}
