// 200 threads, each with its own tid and stack.
#include "../guest.h"
enum { N = 200 };
static volatile int ready;
static void *run(void *x)
{
    char buf[4096];
    long n = (long)x;
    pid_t tid = gettid();
    guest_fill(buf, sizeof buf, n);
    __sync_fetch_and_add(&ready, 1);
    guest_await_go();
    guest_verify("stack", buf, sizeof buf, n);
    CHECK_EQ("gettid", tid, gettid());
    return x;
}
int main(void)
{
    static pthread_t t[N];
    for (long i = 0; i < N; i++)
        t[i] = guest_thread(run, (void *)i);
    AWAIT(ready == N);
    guest_ready();
    for (long i = 0; i < N; i++)
        CHECK_EQ("value", i, guest_join(t[i]));
    return 0;
}
