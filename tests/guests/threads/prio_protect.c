// A priority-ceiling mutex held over it: priority is raised meanwhile and falls back at the unlock.
#include "../guest.h"
int main(void)
{
    pthread_mutex_t m;
    pthread_mutexattr_t a;
    struct sched_param p = {.sched_priority = 5};
    if (sched_setscheduler(0, SCHED_FIFO, &p))
        SKIP("SCHED_FIFO: %s", strerror(errno));
    PT(pthread_mutexattr_init(&a));
    PT(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_PROTECT));
    PT(pthread_mutexattr_setprioceiling(&a, 20));
    PT(pthread_mutex_init(&m, &a));
    PT(pthread_mutex_lock(&m));
    guest_ready();
    SYS(sched_getparam(0, &p));
    CHECK_EQ("priority inside", 20, p.sched_priority);
    PT(pthread_mutex_unlock(&m));
    SYS(sched_getparam(0, &p));
    CHECK_EQ("priority after", 5, p.sched_priority);
    return 0;
}
