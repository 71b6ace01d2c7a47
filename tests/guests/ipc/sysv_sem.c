// System V semaphores: values, a blocked waiter, SEM_UNDO of a child that ends after.
#include "../guest.h"
static int id;
static void waiter(void)
{
    struct sembuf down = {1, -1, 0};
    SYS(semop(id, &down, 1));
}
static void undoer(void)
{
    struct sembuf up = {2, 5, SEM_UNDO};
    SYS(semop(id, &up, 1));
    guest_note("up");
    guest_await("asked");
}
int main(void)
{
    struct sembuf up = {1, 1, 0};
    id = SYS(semget(guest_key(1), 3, IPC_CREAT | 0600));
    SYS(semctl(id, 0, SETVAL, 7));
    pid_t w = guest_fork(waiter), u = guest_fork(undoer);
    guest_await("up");
    AWAIT(semctl(id, 1, GETNCNT) == 1);
    guest_ready();
    CHECK_EQ("id by key", id, semget(guest_key(1), 0, 0));
    CHECK_EQ("value", 7, semctl(id, 0, GETVAL));
    CHECK_EQ("value", 5, semctl(id, 2, GETVAL));
    AWAIT(semctl(id, 1, GETNCNT) == 1);
    SYS(semop(id, &up, 1));
    guest_reap(w, 0);
    CHECK_EQ("GETPID", w, semctl(id, 1, GETPID));
    guest_note("asked");
    guest_reap(u, 0);
    CHECK_EQ("after undo", 0, semctl(id, 2, GETVAL));
    SYS(semctl(id, 0, IPC_RMID));
    return 0;
}
