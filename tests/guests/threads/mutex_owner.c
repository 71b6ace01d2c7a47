// Mutexes of every kind keep owner, count and waiters.
#include "../guest.h"
static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER, check = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP,
                       rec = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static int entered;
static pid_t tids[4];
static void *waiter(void *arg)
{
    tids[(long)arg] = gettid();
    PT(pthread_mutex_lock(&plain));
    entered++;
    PT(pthread_mutex_unlock(&plain));
    CHECK_EQ("trylock of an owned mutex", EBUSY, pthread_mutex_trylock(&rec));
    CHECK_EQ("unlock by another", EPERM, pthread_mutex_unlock(&check));
    return NULL;
}
int main(void)
{
    pthread_t t[4];
    PT(pthread_mutex_lock(&plain));
    PT(pthread_mutex_lock(&check));
    PT(pthread_mutex_lock(&rec));
    PT(pthread_mutex_lock(&rec));
    for (long i = 0; i < 4; i++)
        t[i] = guest_thread(waiter, (void *)i);
    for (int i = 0; i < 4; i++) {
        AWAIT(*(volatile pid_t *)&tids[i]);
        guest_await_in(tids[i], SYS_futex);
    }
    guest_ready();
    CHECK_EQ("waiters that entered", 0, entered);
    CHECK_EQ("relock", EDEADLK, pthread_mutex_lock(&check));
    PT(pthread_mutex_unlock(&plain));
    for (int i = 0; i < 4; i++)
        guest_join(t[i]);
    CHECK_EQ("entered", 4, entered);
    PT(pthread_mutex_unlock(&check));
    PT(pthread_mutex_unlock(&rec));
    PT(pthread_mutex_unlock(&rec));
    CHECK_EQ("unlock once more", EPERM, pthread_mutex_unlock(&rec));
    return 0;
}
