// System V objects that nobody has attached or used yet: content of a segment, an idle queue, a mutex held with UNDO.
#include "../guest.h"
int main(void)
{
    struct sembuf down = {0, -1, SEM_UNDO | IPC_NOWAIT}, up = {0, 1, SEM_UNDO};
    struct { long type; char text[8]; } m = {5, "late"};
    int shm = SYS(shmget(guest_key(1), 70000, IPC_CREAT | 0600)), sem = SYS(semget(guest_key(2), 2, IPC_CREAT | 0600)),
        msg = SYS(msgget(guest_key(3), IPC_CREAT | 0600));
    char *p = shmat(shm, NULL, 0);
    guest_fill(p, 70000, 3);
    SYS(shmdt(p));
    SYS(semctl(sem, 0, SETVAL, 1));
    SYS(semctl(sem, 1, SETVAL, 42));
    SYS(semop(sem, &down, 1));
    guest_ready();
    p = shmat(shm, NULL, 0);
    guest_verify("segment", p, 70000, 3);
    CHECK_EQ("held", -1, semop(sem, &down, 1));
    CHECK_EQ("never used", 42, SYS(semctl(sem, 1, GETVAL)));
    CHECK_EQ("who set it", getpid(), SYS(semctl(sem, 1, GETPID)));
    SYS(semop(sem, &up, 1));
    CHECK_EQ("released", 1, SYS(semctl(sem, 0, GETVAL)));
    CHECK_EQ("queue by key", msg, msgget(guest_key(3), 0));
    SYS(msgsnd(msg, &m, 5, 0));
    CHECK_EQ("message", 5, SYS(msgrcv(msg, &m, sizeof m.text, 5, IPC_NOWAIT)));
    SYS(shmctl(shm, IPC_RMID, NULL));
    SYS(semctl(sem, 0, IPC_RMID));
    SYS(msgctl(msg, IPC_RMID, NULL));
    return 0;
}
