// A named POSIX semaphore with a value and a child waiting on another one.
#include "../guest.h"
static sem_t *a, *b;
static void child(void) { SYS(sem_wait(b)); }
int main(void)
{
    int v;
    a = sem_open(OBJECT("a"), O_CREAT, 0600, 3);
    b = sem_open(OBJECT("b"), O_CREAT, 0600, 0);
    CHECK(a != SEM_FAILED && b != SEM_FAILED);
    pid_t kid = guest_fork(child);
    guest_await_in(kid, SYS_futex);
    guest_ready();
    SYS(sem_getvalue(a, &v));
    CHECK_EQ("value", 3, v);
    CHECK_EQ("still waiting", 0, waitpid(kid, NULL, WNOHANG));
    SYS(sem_post(b));
    guest_reap(kid, 0);
    sem_t *again = sem_open(OBJECT("a"), 0);
    CHECK(again != SEM_FAILED);
    SYS(sem_trywait(again));
    SYS(sem_getvalue(a, &v));
    CHECK_EQ("value through the other", 2, v);
    SYS(sem_unlink(OBJECT("a")));
    SYS(sem_unlink(OBJECT("b")));
    return 0;
}
