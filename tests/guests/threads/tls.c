// __thread variables and pthread keys of every thread, with destructors.
#include "../guest.h"
static __thread int own = 1;
static __thread char big[8192];
static pthread_key_t key;
static volatile int ready, destroyed;
static void destroy(void *x)
{
    free(x);
    __sync_fetch_and_add(&destroyed, 1);
}
static void *run(void *x)
{
    int n = (long)x + 1;
    int *boxed = malloc(sizeof *boxed), *where = &own;
    own = n * 10;
    *boxed = n * 100;
    guest_fill(big, sizeof big, n);
    PT(pthread_setspecific(key, boxed));
    errno = n;
    int *errno_at = &errno;
    __sync_fetch_and_add(&ready, 1);
    guest_await_go();
    CHECK(errno_at == &errno && where == &own);
    CHECK_EQ("own", n * 10, own);
    guest_verify("big", big, sizeof big, n);
    CHECK_EQ("key", n * 100, *(int *)pthread_getspecific(key));
    return NULL;
}
int main(void)
{
    PT(pthread_key_create(&key, destroy));
    own = 4242;
    guest_crowd(8, run, &ready);
    CHECK_EQ("own of main", 4242, own);
    CHECK_EQ("destructors", 8, destroyed);
    return 0;
}
