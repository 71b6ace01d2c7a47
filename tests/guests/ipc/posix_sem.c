// A named POSIX semaphore with a value, also for who opens it only afterwards, and a child waiting on another one.
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
    // libc knows that it has it already: opened as by another program.
    char path[128];
    snprintf(path, sizeof path, "/dev/shm/sem.%s", OBJECT("a") + 1);
    int fd = SYS(open(path, O_RDWR | O_CLOEXEC));
    sem_t *other = mmap(NULL, sizeof(sem_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(other != MAP_FAILED);
    SYS(sem_post(other));
    SYS(sem_getvalue(a, &v));
    CHECK_EQ("value that another program has raised", 3, v);
    SYS(sem_unlink(OBJECT("a")));
    SYS(sem_unlink(OBJECT("b")));
    return 0;
}
