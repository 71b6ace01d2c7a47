// C11 threads: mtx, cnd, once and destructors of thread-specific storage after.
#include "../guest.h"
#include <threads.h>
static mtx_t m;
static cnd_t c;
static tss_t key;
static once_flag once = ONCE_FLAG_INIT;
static int go, dead, inits;
static volatile int waiting;
static _Thread_local int own;
static void destroy(void *p) { __sync_fetch_and_add(&dead, *(int *)p); }
static void init(void) { inits++; }
static int run(void *x)
{
    own = (long)x;
    int *value = malloc(sizeof *value);
    *value = own;
    CHECK_EQ("tss_set", thrd_success, tss_set(key, value));
    mtx_lock(&m);
    waiting++;
    while (!go)
        cnd_wait(&c, &m);
    mtx_unlock(&m);
    CHECK_EQ("thread local", (long)x, own);
    CHECK_EQ("tss", own, *(int *)tss_get(key));
    call_once(&once, init);
    return own * 2;
}
int main(void)
{
    thrd_t t[5];
    mtx_init(&m, mtx_plain);
    cnd_init(&c);
    tss_create(&key, destroy);
    for (long i = 0; i < 5; i++)
        thrd_create(&t[i], run, (void *)(i + 1));
    AWAIT(waiting == 5);
    guest_ready();
    mtx_lock(&m);
    go = 1;
    cnd_broadcast(&c);
    mtx_unlock(&m);
    for (int i = 0, value; i < 5; i++) {
        thrd_join(t[i], &value);
        CHECK_EQ("result", (i + 1) * 2, value);
    }
    CHECK_EQ("destructors", 15, dead);
    CHECK_EQ("call_once", 1, inits);
    return 0;
}
