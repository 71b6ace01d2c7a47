// The owner of a robust mutex dies after go: the next one gets EOWNERDEAD; also between processes.
#include "../guest.h"
static pthread_mutex_t *m;
static volatile int *held;
static void *owner(void *x)
{
    (void)x;
    PT(pthread_mutex_lock(&m[0]));
    held[0] = 1;
    guest_await_go();
    return NULL;
}
static void child(void)
{
    PT(pthread_mutex_lock(&m[1]));
    held[1] = 1;
    guest_await_go();
}
int main(void)
{
    m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    held = (int *)((char *)m + 2048);
    pthread_mutexattr_t a;
    PT(pthread_mutexattr_init(&a));
    PT(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
    PT(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
    PT(pthread_mutex_init(&m[0], &a));
    PT(pthread_mutex_init(&m[1], &a));
    pid_t pid = guest_fork(child);
    pthread_t t = guest_thread(owner, NULL);
    AWAIT(held[0] && held[1]);
    guest_ready();
    guest_join(t);
    guest_reap(pid, 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ("lock after the owner's death", EOWNERDEAD, pthread_mutex_lock(&m[i]));
        PT(pthread_mutex_consistent(&m[i]));
        PT(pthread_mutex_unlock(&m[i]));
        PT(pthread_mutex_lock(&m[i]));
    }
    return 0;
}
