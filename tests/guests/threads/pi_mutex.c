// A priority-inheriting mutex with an owner and a waiter.
#include "../guest.h"
static pthread_mutex_t m;
static volatile pid_t tid;
static volatile int got;
static void *waiter(void *x)
{
    (void)x;
    tid = gettid();
    PT(pthread_mutex_lock(&m));
    got = 1;
    PT(pthread_mutex_unlock(&m));
    return NULL;
}
int main(void)
{
    pthread_mutexattr_t a;
    PT(pthread_mutexattr_init(&a));
    PT(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
    PT(pthread_mutex_init(&m, &a));
    PT(pthread_mutex_lock(&m));
    pthread_t t = guest_thread(waiter, NULL);
    AWAIT(tid);
    guest_await_in(tid, SYS_futex);
    guest_ready();
    CHECK_EQ("waiter inside", 0, got);
    PT(pthread_mutex_unlock(&m));
    guest_join(t);
    CHECK_EQ("waiter inside", 1, got);
    PT(pthread_mutex_lock(&m));
    PT(pthread_mutex_unlock(&m));
    return 0;
}
