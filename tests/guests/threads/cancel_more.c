// Cancellation after: of threads blocked in many calls, with cleanup handlers; deferred, disabled and asynchronous.
#include "../guest.h"
static int p[2];
static sem_t sem;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static volatile int cleaned, in[6], enabled;
static void cleanup(void *x) { __sync_fetch_and_or(&cleaned, 1 << (long)x); }
static void unlock(void *x) { pthread_mutex_unlock(x); }
static void *run(void *x)
{
    long n = (long)x;
    char buf[1];
    pthread_cleanup_push(cleanup, x);
    in[n] = gettid();
    switch (n) {
    case 0:
        SYS(read(p[0], buf, 1));
        break;
    case 1:
        SYS(sem_wait(&sem));
        break;
    case 2:
        PT(pthread_mutex_lock(&m));
        pthread_cleanup_push(unlock, &m);
        for (;;)
            PT(pthread_cond_wait(&c, &m));
        pthread_cleanup_pop(1);
        break;
    case 3:
        for (;;)
            pause();
    case 4:
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
        for (;;) {
        }
    case 5:
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        AWAIT(enabled);
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
        pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return NULL;
}
int main(void)
{
    pthread_t t[6];
    SYS(pipe(p));
    SYS(sem_init(&sem, 0, 0));
    for (long i = 0; i < 6; i++)
        t[i] = guest_thread(run, (void *)i);
    for (int i = 0; i < 6; i++)
        AWAIT(in[i]);
    guest_await_in(in[0], SYS_read);
    guest_ready();
    for (int i = 0; i < 6; i++)
        PT(pthread_cancel(t[i]));
    enabled = 1;
    for (int i = 0; i < 6; i++)
        CHECK(guest_join(t[i]) == PTHREAD_CANCELED);
    CHECK_EQ("cleanups", 63, cleaned);
    PT(pthread_mutex_trylock(&m));
    return 0;
}
