// Semaphores with SEM_UNDO at full speed: whenever a process is saved and killed, just what it has done is undone.
// args: processes threads
#include "../guest.h"
static int id;
static void hammer(void)
{
    for (int i = 0; i % 16 || !guest_going(); i++) {
        struct sembuf down = {0, -1, SEM_UNDO}, up = {0, 1, SEM_UNDO};
        SYS(semop(id, &down, 1));
        CHECK_EQ("held by one", 0, SYS(semctl(id, 0, GETVAL)));
        SYS(i & 1 ? semop(id, &up, 1) : semtimedop(id, &up, 1, NULL));
    }
}
static void *hammering(void *arg)
{
    hammer();
    return arg;
}
static void in_threads(void)
{
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        t[i] = guest_thread(hammering, NULL);
    for (int i = 0; i < 3; i++)
        guest_join(t[i]);
}
int main(int argc, char **argv)
{
    (void)argc;
    id = SYS(semget(IPC_PRIVATE, 1, IPC_CREAT | 0600));
    SYS(semctl(id, 0, SETVAL, 1));
    int threads = guest_is(argv, "threads"), n = threads ? 1 : 3;
    pid_t kids[3];
    for (int i = 0; i < n; i++)
        kids[i] = guest_fork(threads ? in_threads : hammer);
    guest_ready();
    for (int i = 0; i < n; i++)
        guest_reap(kids[i], 0);
    CHECK_EQ("as at the beginning", 1, SYS(semctl(id, 0, GETVAL)));
    SYS(semctl(id, 0, IPC_RMID));
    return 0;
}
