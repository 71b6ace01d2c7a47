// System V shared memory: id, key, content, attachments of parent and child, a segment marked for removal.
#include "../guest.h"
static char *a;
static void child(void)
{
    guest_await("asked");
    CHECK_EQ("parent's byte", 'p', a[0]);
    a[1] = 'c';
    SYS(shmdt(a));
}
int main(void)
{
    struct shmid_ds d;
    int id = SYS(shmget(guest_key(1), 10000, IPC_CREAT | 0640)), gone = SYS(shmget(IPC_PRIVATE, 4096, 0600));
    a = shmat(id, NULL, 0);
    char *g = shmat(gone, NULL, 0), *ro = shmat(id, NULL, SHM_RDONLY);
    SYS(shmctl(gone, IPC_RMID, NULL));
    guest_fill(a, 10000, 1);
    guest_fill(g, 4096, 2);
    pid_t kid = guest_fork(child);
    guest_ready();
    guest_verify("content", a, 10000, 1);
    guest_verify("removed segment", g, 4096, 2);
    CHECK_EQ("id by key", id, shmget(guest_key(1), 0, 0));
    SYS(shmctl(id, IPC_STAT, &d));
    CHECK_EQ("size", 10000, d.shm_segsz);
    CHECK_EQ("mode", 0640, d.shm_perm.mode & 0777);
    CHECK_EQ("attached", 4, d.shm_nattch);
    CHECK_EQ("creator", getpid(), d.shm_cpid);
    a[0] = 'p';
    CHECK_EQ("read-only view", 'p', ro[0]);
    guest_note("asked");
    guest_reap(kid, 0);
    CHECK_EQ("child's byte", 'c', a[1]);
    SYS(shmdt(ro));
    SYS(shmdt(g));
    SYS(shmctl(id, IPC_RMID, NULL));
    SYS(shmdt(a));
    return 0;
}
