// A thread on a stack that the program supplied; attributes say the same after.
#include "../guest.h"
static volatile int ready;
static char *stack;
static void check_attr(void *want, size_t size)
{
    pthread_attr_t a;
    void *addr;
    size_t got;
    PT(pthread_getattr_np(pthread_self(), &a));
    PT(pthread_attr_getstack(&a, &addr, &got));
    CHECK(addr == want && got == size);
    pthread_attr_destroy(&a);
}
static void *run(void *x)
{
    (void)x;
    check_attr(stack, 1 << 20);
    ready = 1;
    guest_await_go();
    check_attr(stack, 1 << 20);
    return NULL;
}
int main(void)
{
    pthread_attr_t a, b;
    pthread_t t;
    void *addr, *addr2;
    size_t size, size2;
    stack = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    PT(pthread_attr_init(&a));
    PT(pthread_attr_setstack(&a, stack, 1 << 20));
    PT(pthread_create(&t, &a, run, NULL));
    AWAIT(ready);
    PT(pthread_getattr_np(pthread_self(), &b));
    PT(pthread_attr_getstack(&b, &addr, &size));
    guest_ready();
    PT(pthread_getattr_np(pthread_self(), &b));
    PT(pthread_attr_getstack(&b, &addr2, &size2));
    CHECK((char *)addr + size == (char *)addr2 + size2);
    guest_join(t);
    return 0;
}
