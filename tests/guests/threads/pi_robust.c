// A priority-inheriting robust mutex between processes: its owner dies after, the waiter gets EOWNERDEAD.
#include "../guest.h"
static pthread_mutex_t *m;
static void owner(void)
{
    PT(pthread_mutex_lock(m));
    guest_note("held");
    guest_await_go();
    _exit(0);
}
static volatile pid_t tid;
static void *waiter(void *x)
{
    (void)x;
    tid = gettid();
    CHECK_EQ("lock", EOWNERDEAD, pthread_mutex_lock(m));
    PT(pthread_mutex_consistent(m));
    PT(pthread_mutex_unlock(m));
    return NULL;
}
int main(void)
{
    m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t a;
    PT(pthread_mutexattr_init(&a));
    PT(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
    PT(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
    PT(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
    PT(pthread_mutex_init(m, &a));
    pid_t kid = guest_fork(owner);
    guest_await("held");
    pthread_t t = guest_thread(waiter, NULL);
    AWAIT(tid);
    guest_await_in(tid, SYS_futex);
    guest_ready();
    guest_reap(kid, 0);
    guest_join(t);
    PT(pthread_mutex_lock(m));
    PT(pthread_mutex_unlock(m));
    return 0;
}
