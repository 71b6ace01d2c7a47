// Detached threads run on and end; new ones can be made after go.
#include "../guest.h"
static volatile int running, ended;
static void *run(void *x)
{
    (void)x;
    __sync_fetch_and_add(&running, 1);
    guest_await_go();
    __sync_fetch_and_add(&ended, 1);
    return NULL;
}
int main(void)
{
    pthread_attr_t a;
    pthread_t t;
    PT(pthread_attr_init(&a));
    PT(pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED));
    for (int i = 0; i < 5; i++)
        PT(pthread_create(&t, &a, run, NULL));
    AWAIT(running == 5);
    guest_ready();
    for (int i = 0; i < 5; i++)
        PT(pthread_create(&t, &a, run, NULL));
    AWAIT(ended == 10);
    return 0;
}
