// IPC in odd states: robust and priority-inheriting mutexes between processes, named semaphores unlinked, a segment grown, a queue watched by epoll, SysV sets with many values, undo across fork, message types, shared futexes of every size.
// args: robust_shared robust_dead cond_shared sem_unlinked sem_waiters shm_grown shm_unmapped mq_epoll mq_notify_armed mq_nonblock undo_fork undo_exit sem_many msg_types msg_copy shm_exec barrier_shared rwlock_shared spin_shared memfd_shared shm_private_key futex_requeue
#include "../guest.h"
#include <linux/futex.h>
static struct {
    pthread_mutex_t m;
    pthread_cond_t c;
    pthread_barrier_t b;
    pthread_rwlock_t rw;
    pthread_spinlock_t spin;
    sem_t sem;
    int n, go, word[4];
} *s;
static void share(int robust)
{
    pthread_mutexattr_t a;
    pthread_condattr_t c;
    pthread_barrierattr_t b;
    pthread_rwlockattr_t r;
    s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(s != MAP_FAILED);
    PT(pthread_mutexattr_init(&a)); PT(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
    if (robust)
        PT(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
    PT(pthread_mutex_init(&s->m, &a));
    PT(pthread_condattr_init(&c)); PT(pthread_condattr_setpshared(&c, PTHREAD_PROCESS_SHARED)); PT(pthread_cond_init(&s->c, &c));
    PT(pthread_barrierattr_init(&b)); PT(pthread_barrierattr_setpshared(&b, PTHREAD_PROCESS_SHARED)); PT(pthread_barrier_init(&s->b, &b, 3));
    PT(pthread_rwlockattr_init(&r)); PT(pthread_rwlockattr_setpshared(&r, PTHREAD_PROCESS_SHARED)); PT(pthread_rwlock_init(&s->rw, &r));
    PT(pthread_spin_init(&s->spin, PTHREAD_PROCESS_SHARED));
    SYS(sem_init(&s->sem, 1, 0));
}
static volatile int told;
static void on_usr1(int n) { (void)n, told++; }
union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};
static int msg_of(int q, long type, void *buf, int flags)
{
    struct { long t; char d[64]; } m;
    int n = msgrcv(q, &m, sizeof m.d, type, flags);
    if (n >= 0)
        memcpy(buf, m.d, n);
    return n;
}
static void put(int q, long type, const char *text)
{
    struct { long t; char d[64]; } m = {type, {0}};
    strcpy(m.d, text);
    SYS(msgsnd(q, &m, strlen(text) + 1, 0));
}
int main(int argc, char **argv)
{
    (void)argc;
    char buf[64] = {0};
    pid_t kid[3];
    if (guest_is(argv, "robust_shared") || guest_is(argv, "robust_dead")) {
        // The owner dies with it after (or has died before); the next is told.
        share(1);
        int dead = guest_is(argv, "robust_dead");
        kid[0] = SYS(fork());
        if (kid[0] == 0) {
            PT(pthread_mutex_lock(&s->m));
            guest_note("locked");
            if (!dead)
                guest_await_go();
            _exit(0);
        }
        guest_await("locked");
        if (dead)
            guest_reap(kid[0], 0);
        guest_ready();
        if (!dead)
            guest_reap(kid[0], 0);
        CHECK_EQ("told", EOWNERDEAD, pthread_mutex_lock(&s->m));
        PT(pthread_mutex_consistent(&s->m));
        PT(pthread_mutex_unlock(&s->m)); PT(pthread_mutex_lock(&s->m));
    } else if (guest_is(argv, "cond_shared")) {
        share(0);
        for (int i = 0; i < 3; i++)
            if ((kid[i] = SYS(fork())) == 0) {
                PT(pthread_mutex_lock(&s->m));
                s->n++;
                while (!s->go)
                    PT(pthread_cond_wait(&s->c, &s->m));
                PT(pthread_mutex_unlock(&s->m));
                _exit(0);
            }
        for (int n = 0; n < 3; guest_nap()) {
            PT(pthread_mutex_lock(&s->m));
            n = s->n;
            PT(pthread_mutex_unlock(&s->m));
        }
        guest_ready();
        PT(pthread_mutex_lock(&s->m));
        s->go = 1;
        PT(pthread_cond_broadcast(&s->c)); PT(pthread_mutex_unlock(&s->m));
        for (int i = 0; i < 3; i++)
            guest_reap(kid[i], 0);
    } else if (guest_is(argv, "sem_unlinked") || guest_is(argv, "sem_waiters")) {
        sem_t *sem = sem_open(OBJECT("s"), O_CREAT | O_EXCL, 0600, 0);
        CHECK(sem != SEM_FAILED);
        if (guest_is(argv, "sem_unlinked"))
            SYS(sem_unlink(OBJECT("s")));
        for (int i = 0; i < 2; i++)
            if ((kid[i] = SYS(fork())) == 0)
                _exit(sem_wait(sem) != 0);
        for (int i = 0; i < 2; i++)
            guest_await_in(kid[i], SYS_futex);
        guest_ready();
        SYS(sem_post(sem)), SYS(sem_post(sem)), SYS(sem_post(sem));
        guest_reap(kid[0], 0), guest_reap(kid[1], 0);
        int v;
        SYS(sem_getvalue(sem, &v));
        CHECK_EQ("value", 1, v);
        if (guest_is(argv, "sem_waiters")) {
            sem_t *again = sem_open(OBJECT("s"), 0);
            CHECK(again != SEM_FAILED);
            SYS(sem_unlink(OBJECT("s")));
            SYS(sem_trywait(again));
        }
    } else if (guest_is(argv, "shm_grown") || guest_is(argv, "shm_unmapped")) {
        // Mapped twice, at different offsets, then grown; or open and not mapped at all.
        int f = SYS(shm_open(OBJECT("m"), O_CREAT | O_EXCL | O_RDWR, 0600)), mapped = guest_is(argv, "shm_grown");
        SYS(ftruncate(f, 8192));
        char *a = NULL, *b = NULL;
        if (mapped) {
            a = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0), b = mmap(NULL, 4096, PROT_READ, MAP_SHARED, f, 4096);
            SYS(ftruncate(f, 65536));
        }
        SYS(pwrite(f, "deep", 5, 5000));
        guest_ready();
        if (mapped) {
            CHECK_STR("one memory", "deep", a + 5000); CHECK_STR("one memory", "deep", b + 904);
            a[4097] = 'x';
            CHECK_EQ("one memory", 'x', b[1]);
        }
        SYS(pread(f, buf, 5, 5000));
        CHECK_STR("content", "deep", buf);
        struct stat st;
        SYS(fstat(f, &st));
        CHECK_EQ("size", mapped ? 65536 : 8192, st.st_size);
        SYS(shm_unlink(OBJECT("m")));
    } else if (guest_is(argv, "mq_epoll") || guest_is(argv, "mq_notify_armed") || guest_is(argv, "mq_nonblock")) {
        struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 32}, now;
        mqd_t q = mq_open(OBJECT("q"), O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attr);
        CHECK(q != (mqd_t)-1);
        SYS(mq_unlink(OBJECT("q")));
        struct epoll_event e = {.events = EPOLLIN};
        int ep = SYS(epoll_create1(0)), full = guest_is(argv, "mq_nonblock");
        signal(SIGUSR1, on_usr1);
        if (guest_is(argv, "mq_notify_armed")) {
            struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
            SYS(mq_notify(q, &ev));
        }
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, q, &e));
        for (int i = 0; full && i < 4; i++)
            SYS(mq_send(q, "m", 2, i));
        guest_ready();
        if (full) {
            CHECK_EQ("full", -1, mq_send(q, "m", 2, 0));
            unsigned prio;
            CHECK_EQ("receive", 2, SYS(mq_receive(q, buf, 32, &prio)));
            CHECK_EQ("highest", 3, prio);
        } else {
            CHECK_EQ("nothing", 0, SYS(epoll_wait(ep, &e, 1, 0)));
            SYS(mq_send(q, "new", 4, 7));
            CHECK_EQ("ready", 1, SYS(epoll_wait(ep, &e, 1, 0)));
            if (guest_is(argv, "mq_notify_armed"))
                AWAIT(told);
        }
        SYS(mq_getattr(q, &now));
        CHECK_EQ("flags", O_NONBLOCK, now.mq_flags); CHECK_EQ("size", 32, now.mq_msgsize); CHECK_EQ("count", full ? 3 : 1, now.mq_curmsgs);
    } else if (guest_is(argv, "undo_fork") || guest_is(argv, "undo_exit")) {
        // A child has no undo of its parent's; its own comes when it ends, killed or not.
        int id = SYS(semget(IPC_PRIVATE, 2, 0600));
        struct sembuf up = {0, 3, SEM_UNDO}, take = {1, 2, SEM_UNDO};
        SYS(semop(id, &up, 1));
        kid[0] = SYS(fork());
        if (kid[0] == 0) {
            SYS(semop(id, &take, 1));
            guest_note("taken");
            guest_await_go();
            if (guest_is(argv, "undo_exit"))
                raise(SIGKILL);
            _exit(0);
        }
        guest_await("taken");
        guest_ready();
        int status;
        SYS(waitpid(kid[0], &status, 0));
        CHECK_EQ("parent's", 3, SYS(semctl(id, 0, GETVAL))); CHECK_EQ("undone", 0, SYS(semctl(id, 1, GETVAL)));
        SYS(semctl(id, 0, IPC_RMID));
    } else if (guest_is(argv, "sem_many")) {
        unsigned short v[200];
        int id = SYS(semget(guest_key(1), 200, IPC_CREAT | IPC_EXCL | 0600));
        for (int i = 0; i < 200; i++)
            v[i] = i * 3;
        SYS(semctl(id, 0, SETALL, (union semun){.array = v}));
        guest_ready();
        memset(v, 0, sizeof v);
        SYS(semctl(id, 0, GETALL, (union semun){.array = v}));
        for (int i = 0; i < 200; i++)
            CHECK_EQ("value", i * 3, v[i]);
        CHECK_EQ("by key", id, SYS(semget(guest_key(1), 0, 0)));
        SYS(semctl(id, 0, IPC_RMID));
    } else if (guest_is(argv, "msg_types") || guest_is(argv, "msg_copy")) {
        int q = SYS(msgget(guest_key(2), IPC_CREAT | IPC_EXCL | 0600));
        put(q, 5, "five"), put(q, 2, "two"), put(q, 9, "nine"), put(q, 2, "two again");
        guest_ready();
        if (guest_is(argv, "msg_copy")) {
            int n = msg_of(q, 2, buf, MSG_COPY | IPC_NOWAIT);
            if (n >= 0)
                CHECK_STR("third", "nine", buf);
        }
        msg_of(q, -4, buf, 0);
        CHECK_STR("lowest", "two", buf);
        msg_of(q, 2, buf, MSG_EXCEPT);
        CHECK_STR("first other", "five", buf);
        msg_of(q, 0, buf, 0);
        CHECK_STR("first", "nine", buf);
        msg_of(q, 2, buf, 0);
        CHECK_STR("second", "two again", buf);
        CHECK_EQ("empty", -1, msg_of(q, 0, buf, IPC_NOWAIT));
        SYS(msgctl(q, IPC_RMID, NULL));
    } else if (guest_is(argv, "shm_exec") || guest_is(argv, "shm_private_key")) {
        // Read-only attached; a private one attached twice and marked for removal.
        int id = SYS(shmget(IPC_PRIVATE, 12345, 0600)), only = guest_is(argv, "shm_exec");
        char *a = shmat(id, NULL, 0), *b = shmat(id, NULL, only ? SHM_RDONLY : 0);
        CHECK(a != (void *)-1 && b != (void *)-1);
        strcpy(a + 5000, "shared");
        SYS(shmctl(id, IPC_RMID, NULL));
        struct shmid_ds before, now;
        SYS(shmctl(id, IPC_STAT, &before));
        guest_ready();
        CHECK_STR("content", "shared", b + 5000);
        SYS(shmctl(id, IPC_STAT, &now));
        CHECK_EQ("size", 12345, now.shm_segsz); CHECK_EQ("attached", 2, now.shm_nattch);
        SYS(shmdt(a));
        SYS(shmctl(id, IPC_STAT, &now));
        CHECK_EQ("attached", 1, now.shm_nattch);
        SYS(shmdt(b));
        CHECK_EQ("gone", -1, shmctl(id, IPC_STAT, &now));
    } else if (guest_is(argv, "barrier_shared")) {
        share(0);
        for (int i = 0; i < 2; i++)
            if ((kid[i] = SYS(fork())) == 0) {
                for (int k = 0; k < 2; k++)
                    pthread_barrier_wait(&s->b);
                _exit(0);
            }
        for (int i = 0; i < 2; i++)
            guest_await_in(kid[i], SYS_futex);
        guest_ready();
        for (int k = 0; k < 2; k++)
            pthread_barrier_wait(&s->b);
        guest_reap(kid[0], 0), guest_reap(kid[1], 0);
    } else if (guest_is(argv, "rwlock_shared")) {
        share(0);
        PT(pthread_rwlock_rdlock(&s->rw));
        kid[0] = SYS(fork());
        if (kid[0] == 0) {
            PT(pthread_rwlock_wrlock(&s->rw));
            s->n = 7;
            PT(pthread_rwlock_unlock(&s->rw));
            _exit(0);
        }
        guest_await_in(kid[0], SYS_futex);
        guest_ready();
        CHECK_EQ("not yet", 0, s->n);
        PT(pthread_rwlock_unlock(&s->rw));
        guest_reap(kid[0], 0);
        CHECK_EQ("written", 7, s->n);
        PT(pthread_rwlock_wrlock(&s->rw));
    } else if (guest_is(argv, "spin_shared")) {
        share(0);
        PT(pthread_spin_lock(&s->spin));
        kid[0] = SYS(fork());
        if (kid[0] == 0) {
            PT(pthread_spin_lock(&s->spin));
            s->n = 3;
            PT(pthread_spin_unlock(&s->spin));
            _exit(0);
        }
        guest_ready();
        CHECK_EQ("not yet", 0, s->n);
        PT(pthread_spin_unlock(&s->spin));
        guest_reap(kid[0], 0);
        CHECK_EQ("then", 3, s->n);
    } else if (guest_is(argv, "memfd_shared")) {
        // Mapped by parent and child, closed by both.
        int f = SYS(memfd_create("m", 0));
        SYS(ftruncate(f, 8192));
        int *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
        close(f);
        kid[0] = SYS(fork());
        if (kid[0] == 0) {
            AWAIT(__atomic_load_n(m, __ATOMIC_SEQ_CST) == 1);
            __atomic_store_n(m + 1500, 2, __ATOMIC_SEQ_CST);
            _exit(0);
        }
        guest_ready();
        __atomic_store_n(m, 1, __ATOMIC_SEQ_CST);
        guest_reap(kid[0], 0);
        CHECK_EQ("answer", 2, m[1500]);
    } else {
        // Waiters of one word moved to another (FUTEX_CMP_REQUEUE) and woken there.
        share(0);
        for (int i = 0; i < 3; i++)
            if ((kid[i] = SYS(fork())) == 0) {
                while (!s->go)
                    syscall(SYS_futex, &s->word[0], FUTEX_WAIT, 0, NULL, NULL, 0);
                _exit(0);
            }
        for (int i = 0; i < 3; i++)
            guest_await_in(kid[i], SYS_futex);
        guest_ready();
        s->go = 1;
        int woken = 0;
        AWAIT((woken += SYS(syscall(SYS_futex, &s->word[0], FUTEX_CMP_REQUEUE, 1, (void *)3L, &s->word[1], 0))) >= 3);
        s->word[1] = 1;
        syscall(SYS_futex, &s->word[1], FUTEX_WAKE, 9, NULL, NULL, 0);
        for (int i = 0; i < 3; i++)
            guest_reap(kid[i], 0);
    }
    return 0;
}
