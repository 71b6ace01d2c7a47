// A read-locked rwlock with a waiting writer, and a write-locked one with waiting readers.
#include "../guest.h"
static pthread_rwlock_t a = PTHREAD_RWLOCK_INITIALIZER, b = PTHREAD_RWLOCK_INITIALIZER;
static volatile int got_a, got_b;
static volatile pid_t tid[3];
static void *writer(void *x)
{
    (void)x;
    tid[0] = gettid();
    PT(pthread_rwlock_wrlock(&a));
    got_a++;
    PT(pthread_rwlock_unlock(&a));
    return NULL;
}
static void *reader(void *x)
{
    tid[(long)x] = gettid();
    PT(pthread_rwlock_rdlock(&b));
    __sync_fetch_and_add(&got_b, 1);
    PT(pthread_rwlock_unlock(&b));
    return NULL;
}
int main(void)
{
    PT(pthread_rwlock_rdlock(&a));
    PT(pthread_rwlock_rdlock(&a));
    PT(pthread_rwlock_wrlock(&b));
    pthread_t t[3] = {guest_thread(writer, NULL), guest_thread(reader, (void *)1), guest_thread(reader, (void *)2)};
    for (int i = 0; i < 3; i++) {
        AWAIT(tid[i]);
        guest_await_in(tid[i], SYS_futex);
    }
    guest_ready();
    CHECK_EQ("entered", 0, got_a + got_b);
    CHECK_EQ("relock of a write lock", EDEADLK, pthread_rwlock_wrlock(&b));
    PT(pthread_rwlock_unlock(&a));
    CHECK_EQ("writer", 0, got_a);
    PT(pthread_rwlock_unlock(&a));
    PT(pthread_rwlock_unlock(&b));
    for (int i = 0; i < 3; i++)
        guest_join(t[i]);
    CHECK_EQ("entered", 3, got_a + got_b);
    return 0;
}
