// pthread_cancel after go: of a read, of a condition wait, of an asynchronous spinner, of one with cancelling off.
#include "../guest.h"
static int p[2], cleaned;
static volatile int off = 1, spinning;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static volatile pid_t tid[4];
static void cleanup(void *x)
{
    (void)x;
    __sync_fetch_and_add(&cleaned, 1);
}
static void unlock(void *x)
{
    (void)x;
    PT(pthread_mutex_unlock(&m));
    __sync_fetch_and_add(&cleaned, 1);
}
static void *reads(void *x)
{
    (void)x;
    char ch;
    tid[0] = gettid();
    pthread_cleanup_push(cleanup, NULL);
    if (read(p[0], &ch, 1) != 1)
        guest_fail("read ended");
    pthread_cleanup_pop(0);
    return NULL;
}
static void *waits(void *x)
{
    (void)x;
    PT(pthread_mutex_lock(&m));
    tid[1] = gettid();
    pthread_cleanup_push(unlock, NULL);
    for (;;)
        PT(pthread_cond_wait(&c, &m));
    pthread_cleanup_pop(0);
    return NULL;
}
static void *spins(void *x)
{
    (void)x;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    spinning = 1;
    for (;;)
        sched_yield();
    return NULL;
}
static void *refuses(void *x)
{
    (void)x;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    tid[3] = gettid();
    while (off)
        guest_nap();
    pthread_cleanup_push(cleanup, NULL);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return NULL;
}
int main(void)
{
    SYS(pipe(p));
    pthread_t t[4] = {guest_thread(reads, NULL), guest_thread(waits, NULL), guest_thread(spins, NULL),
                      guest_thread(refuses, NULL)};
    AWAIT(tid[0] && tid[1] && spinning && tid[3]);
    guest_await_in(tid[0], SYS_read);
    guest_ready();
    for (int i = 0; i < 4; i++)
        PT(pthread_cancel(t[i]));
    off = 0;
    for (int i = 0; i < 4; i++)
        if (guest_join(t[i]) != PTHREAD_CANCELED)
            guest_fail("thread %d, expected PTHREAD_CANCELED", i);
    CHECK_EQ("cleanup handlers", 3, cleaned);
    return 0;
}
