// Protection keys: the rights register of each thread and the key of a page.
#include "../guest.h"
static volatile int ready;
static volatile int key;
static volatile char *page;
static sigjmp_buf env;
static void on_segv(int s)
{
    (void)s;
    siglongjmp(env, 1);
}
static void *run(void *x)
{
    (void)x;
    pkey_set(key, 0);
    ready = 1;
    while (!guest_going()) {
    }
    CHECK_EQ("rights of the thread", 0, pkey_get(key));
    page[0] = 2;
    return NULL;
}
int main(void)
{
    key = pkey_alloc(0, 0);
    if (key < 0)
        SKIP("no protection keys here");
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 1;
    SYS(pkey_mprotect((void *)page, 4096, PROT_READ | PROT_WRITE, key));
    signal(SIGSEGV, on_segv);
    pkey_set(key, PKEY_DISABLE_WRITE);
    pthread_t t = guest_thread(run, NULL);
    AWAIT(ready);
    guest_ready();
    guest_join(t);
    CHECK_EQ("rights of main", PKEY_DISABLE_WRITE, pkey_get(key));
    CHECK_EQ("read", 2, page[0]);
    if (sigsetjmp(env, 1) == 0) {
        page[0] = 3;
        guest_fail("write through a protection key, expected SIGSEGV, got none");
    }
    SYS(pkey_free(key));
    return 0;
}
