// An 8 MiB frame on a thread's stack and a deep recursion on main's.
#include "../guest.h"
static volatile int ready;
static void *run(void *x)
{
    (void)x;
    char buf[8 << 20];
    guest_fill(buf, sizeof buf, 5);
    ready = 1;
    guest_await_go();
    guest_verify("frame", buf, sizeof buf, 5);
    return NULL;
}
static int deep(int n)
{
    volatile char buf[1000];
    buf[0] = buf[999] = n;
    if (n == 4000)
        guest_ready();
    else
        deep(n + 1);
    CHECK_EQ("frame", (char)n, buf[0]);
    CHECK_EQ("frame end", (char)n, buf[999]);
    return n;
}
int main(void)
{
    pthread_attr_t a;
    pthread_t t;
    PT(pthread_attr_init(&a));
    PT(pthread_attr_setstacksize(&a, 16 << 20));
    PT(pthread_create(&t, &a, run, NULL));
    AWAIT(ready);
    deep(0);
    guest_join(t);
    return 0;
}
