// System V objects: a queue that is full with a blocked sender, empty messages, waiters for zero, several attachments, read-only, changed owner and limits, undo of several.
// args: queue_full empty_message wait_zero attach_many set undo_many removed_attached exclusive
#include "../guest.h"
union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};
struct m {
    long type;
    char text[64];
};
int main(int argc, char **argv)
{
    (void)argc;
    struct m m = {.type = 3};
    if (guest_is(argv, "queue_full") || guest_is(argv, "empty_message")) {
        int q = SYS(msgget(guest_key(1), IPC_CREAT | 0600)), n = 0;
        if (guest_is(argv, "empty_message")) {
            SYS(msgsnd(q, &m, 0, 0));
            m.type = 9, strcpy(m.text, "nine");
            SYS(msgsnd(q, &m, 5, 0));
            guest_ready();
            CHECK_EQ("the other type", 5, SYS(msgrcv(q, &m, 64, -3, MSG_NOERROR | IPC_NOWAIT) == 0 ? msgrcv(q, &m, 64, 9, 0) : -2));
        } else {
            struct msqid_ds ds;
            SYS(msgctl(q, IPC_STAT, &ds));
            ds.msg_qbytes = 640;
            SYS(msgctl(q, IPC_SET, &ds));
            while (msgsnd(q, &m, 64, IPC_NOWAIT) == 0)
                n++;
            CHECK_EQ("messages", 10, n);
            pid_t kid = SYS(fork());
            if (kid == 0) {
                m.type = 5;
                SYS(msgsnd(q, &m, 64, 0));
                _exit(0);
            }
            guest_await_in(kid, SYS_msgsnd);
            guest_ready();
            SYS(msgctl(q, IPC_STAT, &ds));
            CHECK_EQ("limit", 640, ds.msg_qbytes);
            CHECK_EQ("count", 10, ds.msg_qnum);
            CHECK_EQ("receive", 64, SYS(msgrcv(q, &m, 64, 0, 0)));
            guest_reap(kid, 0);
            CHECK_EQ("the child's", 64, SYS(msgrcv(q, &m, 64, 5, IPC_NOWAIT)));
        }
        SYS(msgctl(q, IPC_RMID, NULL));
    } else if (guest_is(argv, "wait_zero") || guest_is(argv, "set") || guest_is(argv, "undo_many")) {
        int s = SYS(semget(guest_key(2), 5, IPC_CREAT | 0640));
        unsigned short v[5] = {1, 2, 3, 40, 32767}, now[5];
        SYS(semctl(s, 0, SETALL, (union semun){.array = v}));
        if (guest_is(argv, "wait_zero")) {
            pid_t kid = SYS(fork());
            if (kid == 0) {
                struct sembuf two[2] = {{0, 0, 0}, {1, 5, 0}};
                SYS(semop(s, two, 2));
                _exit(0);
            }
            AWAIT(semctl(s, 0, GETZCNT) == 1);
            guest_ready();
            AWAIT(semctl(s, 0, GETZCNT) == 1);
            struct sembuf down = {0, -1, 0};
            SYS(semop(s, &down, 1));
            guest_reap(kid, 0);
            CHECK_EQ("raised by five", 7, semctl(s, 1, GETVAL));
        } else if (guest_is(argv, "undo_many")) {
            pid_t kid = SYS(fork());
            if (kid == 0) {
                struct sembuf up[3] = {{0, 4, SEM_UNDO}, {1, -2, SEM_UNDO}, {3, -10, SEM_UNDO}};
                SYS(semop(s, up, 3));
                guest_note("done");
                guest_await_go();
                _exit(0);
            }
            guest_await("done");
            guest_ready();
            guest_reap(kid, 0);
            SYS(semctl(s, 0, GETALL, (union semun){.array = now}));
            for (int i = 0; i < 5; i++)
                CHECK_EQ("undone", v[i], now[i]);
        } else {
            struct semid_ds ds;
            SYS(semctl(s, 0, IPC_STAT, (union semun){.buf = &ds}));
            guest_ready();
            struct semid_ds then = ds;
            SYS(semctl(s, 0, IPC_STAT, (union semun){.buf = &ds}));
            CHECK_EQ("mode", then.sem_perm.mode, ds.sem_perm.mode); CHECK_EQ("semaphores", 5, ds.sem_nsems);
            CHECK_EQ("id by key", s, semget(guest_key(2), 5, 0));
            SYS(semctl(s, 0, GETALL, (union semun){.array = now}));
            CHECK(memcmp(v, now, sizeof v) == 0);
            CHECK_EQ("last operation by", getpid(), semctl(s, 0, GETPID));
        }
        SYS(semctl(s, 0, IPC_RMID));
    } else if (guest_is(argv, "attach_many")) {
        int id = SYS(shmget(guest_key(3), 3 * 4096 + 100, IPC_CREAT | 0600));
        char *a = shmat(id, NULL, 0), *b = shmat(id, NULL, SHM_RDONLY), *c = shmat(id, NULL, 0);
        CHECK(a != (void *)-1 && b != (void *)-1 && c != (void *)-1);
        strcpy(a + 5000, "seen");
        SYS(shmdt(c));
        guest_ready();
        CHECK_STR("through the other", "seen", b + 5000);
        struct shmid_ds ds;
        SYS(shmctl(id, IPC_STAT, &ds));
        CHECK_EQ("attached", 2, ds.shm_nattch); CHECK_EQ("size", 3 * 4096 + 100, ds.shm_segsz);
        a[0] = 'z';
        CHECK_EQ("one memory", 'z', b[0]);
        SYS(shmdt(b)), SYS(shmdt(a));
        SYS(shmctl(id, IPC_STAT, &ds));
        CHECK_EQ("attached", 0, ds.shm_nattch);
        SYS(shmctl(id, IPC_RMID, NULL));
    } else if (guest_is(argv, "removed_attached")) {
        int id = SYS(shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600));
        char *a = shmat(id, NULL, 0);
        strcpy(a, "private");
        pid_t kid = SYS(fork());
        if (kid == 0) {
            guest_await("ask");
            strcpy(a + 100, "answer");
            _exit(0);
        }
        SYS(shmctl(id, IPC_RMID, NULL));
        guest_ready();
        CHECK_STR("content", "private", a);
        guest_note("ask");
        guest_reap(kid, 0);
        CHECK_STR("still shared", "answer", a + 100);
    } else {
        int id = SYS(shmget(guest_key(4), 4096, IPC_CREAT | IPC_EXCL | 0600)), q = SYS(msgget(guest_key(4), IPC_CREAT | IPC_EXCL | 0600)), s = SYS(semget(guest_key(4), 1, IPC_CREAT | IPC_EXCL | 0600));
        guest_ready();
        CHECK_EQ("exists", -1, shmget(guest_key(4), 4096, IPC_CREAT | IPC_EXCL | 0600));
        CHECK_EQ("same ids", id, shmget(guest_key(4), 0, 0)); CHECK_EQ("same ids", q, msgget(guest_key(4), 0)); CHECK_EQ("same ids", s, semget(guest_key(4), 0, 0));
        SYS(shmctl(id, IPC_RMID, NULL)), SYS(msgctl(q, IPC_RMID, NULL)), SYS(semctl(s, 0, IPC_RMID));
    }
    return 0;
}
