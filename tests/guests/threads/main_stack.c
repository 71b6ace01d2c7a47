// The main thread's stack grows after, deep and back; a thread still faults on its guard page.
#include "../guest.h"
static sigjmp_buf env;
static char alt[65536];
static int deep(int n)
{
    volatile char frame[4096];
    frame[0] = n;
    return n ? deep(n - 1) + frame[0] - (char)n : 0;
}
static void on_segv(int s)
{
    (void)s;
    siglongjmp(env, 1);
}
static int forever(int n)
{
    volatile char frame[4096];
    frame[0] = n;
    return forever(n + 1) + frame[0];
}
static volatile int ready;
static void *run(void *x)
{
    stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt};
    (void)x;
    SYS(sigaltstack(&ss, NULL));
    ready = 1;
    guest_await_go();
    if (!sigsetjmp(env, 1))
        forever(0);
    return NULL;
}
int main(void)
{
    struct sigaction sa = {.sa_handler = on_segv, .sa_flags = SA_ONSTACK};
    SYS(sigaction(SIGSEGV, &sa, NULL));
    deep(100);
    pthread_t t = guest_thread(run, NULL);
    AWAIT(ready);
    guest_ready();
    CHECK_EQ("deep", 0, deep(1800));
    guest_join(t);
    return 0;
}
