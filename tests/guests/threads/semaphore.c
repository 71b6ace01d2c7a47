// An unnamed semaphore keeps its value and its waiters.
#include "../guest.h"
static sem_t full, empty;
static volatile int got;
static volatile pid_t tid[3];
static void *waits(void *x)
{
    tid[(long)x] = gettid();
    SYS(sem_wait(&empty));
    __sync_fetch_and_add(&got, 1);
    return NULL;
}
int main(void)
{
    SYS(sem_init(&full, 0, 5));
    SYS(sem_init(&empty, 0, 0));
    pthread_t t[3];
    for (long i = 0; i < 3; i++) {
        t[i] = guest_thread(waits, (void *)i);
        AWAIT(tid[i]);
        guest_await_in(tid[i], SYS_futex);
    }
    guest_ready();
    int value;
    SYS(sem_getvalue(&full, &value));
    CHECK_EQ("value", 5, value);
    CHECK_EQ("woken early", 0, got);
    for (int i = 0; i < 3; i++)
        SYS(sem_post(&empty));
    for (int i = 0; i < 3; i++)
        guest_join(t[i]);
    return 0;
}
