// More blocked calls that must not see the checkpoint: ends at the event, with the whole count.
// args: epoll_pwait epoll_pwait2 sigwait sigwaitinfo writev pwritev2 sendmsg recv_waitall recvmsg_waitall readv clock_abs futex_bitset lock_pi lock_pi_timed io_getevents msgsnd semtimedop mq_timedsend accept4 read_signalfd sem_clockwait rwlock barrier join mutex_timed pause sigsuspend setlkw sendfile splice tee ppoll_null
#include "../guest.h"
#include <linux/aio_abi.h>
#include <sys/sendfile.h>
static const char *a;
#define IS(x) (!strcmp(a, x))
static volatile pid_t tid;
static volatile int fired, word;
static int p[2], q[2], s[2], ep, sem, msg, lockfd, sfd, file, tcp = -1;
static sem_t posix_sem;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER, pi;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t bar;
static pthread_t joined;
static mqd_t mq = -1;
static aio_context_t aio;
static sigset_t usr2, usr1;
static struct timespec far, far_mono, hour = {3600, 0};
static struct sockaddr_in addr = {.sin_family = AF_INET};
static struct { long type; char text[8000]; } mb = {1, "x"};
static char big[300000], out[300000];
static volatile int hits;
static void on_usr1(int n) { (void)n, hits++; }
static void *until_fired(void *x)
{
    AWAIT(fired);
    return x;
}
static void setup(void)
{
    struct epoll_event e = {.events = EPOLLIN};
    SYS(pipe(p));
    SYS(pipe(q));
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    clock_gettime(CLOCK_REALTIME, &far);
    clock_gettime(CLOCK_MONOTONIC, &far_mono);
    far.tv_sec += 3600, far_mono.tv_sec += 3600;
    sem_init(&posix_sem, 0, 0);
    sigemptyset(&usr1), sigaddset(&usr1, SIGUSR1);
    sigemptyset(&usr2), sigaddset(&usr2, SIGUSR2);
    SYS(sigprocmask(SIG_BLOCK, &usr2, NULL));
    signal(SIGUSR1, on_usr1);
    pthread_mutexattr_t at;
    PT(pthread_mutexattr_init(&at));
    PT(pthread_mutexattr_setprotocol(&at, PTHREAD_PRIO_INHERIT));
    PT(pthread_mutex_init(&pi, &at));
    PT(pthread_barrier_init(&bar, NULL, 2));
    guest_fill(big, sizeof big, 4);
    if (!strncmp(a, "epoll", 5)) {
        ep = SYS(epoll_create1(0));
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    } else if (!strncmp(a, "lock_pi", 7))
        PT(pthread_mutex_lock(&pi));
    else if (IS("rwlock"))
        PT(pthread_rwlock_wrlock(&rw));
    else if (IS("mutex_timed"))
        PT(pthread_mutex_lock(&m));
    else if (IS("join"))
        joined = guest_thread(until_fired, (void *)5);
    else if (IS("io_getevents"))
        SYS(syscall(SYS_io_setup, 4, &aio));
    else if (IS("msgsnd")) {
        msg = SYS(msgget(guest_key(1), IPC_CREAT | 0600));
        while (msgsnd(msg, &mb, sizeof mb.text, IPC_NOWAIT) == 0) {
        }
    } else if (IS("semtimedop")) {
        sem = SYS(semget(guest_key(1), 1, IPC_CREAT | 0600));
        SYS(semctl(sem, 0, SETVAL, 0));
    } else if (IS("mq_timedsend")) {
        struct mq_attr at = {.mq_maxmsg = 1, .mq_msgsize = 16};
        mq = mq_open(OBJECT("calls"), O_CREAT | O_RDWR, 0600, &at);
        if (mq < 0)
            SKIP("no POSIX message queues: %s", strerror(errno));
        SYS(mq_unlink(OBJECT("calls")));
        SYS(mq_send(mq, "one", 3, 0));
    } else if (IS("accept4")) {
        tcp = SYS(socket(AF_INET, SOCK_STREAM, 0));
        addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        SYS(bind(tcp, (void *)&addr, sizeof addr));
        SYS(listen(tcp, 4));
        SYS(getsockname(tcp, (void *)&addr, &(socklen_t){sizeof addr}));
    } else if (IS("read_signalfd"))
        sfd = SYS(signalfd(-1, &usr2, 0));
    else if (IS("setlkw")) {
        lockfd = SYS(open(PATH_OF("lock"), O_RDWR | O_CREAT, 0600));
        pid_t kid = SYS(fork());
        if (kid == 0) {
            struct flock l = {.l_type = F_WRLCK};
            SYS(fcntl(lockfd, F_SETLK, &l));
            guest_note("locked");
            guest_await("unlock");
            _exit(0);
        }
        guest_await("locked");
    }
    file = SYS(open(PATH_OF("file"), O_RDWR | O_CREAT, 0600));
    SYS(pwrite(file, big, sizeof big, 0));
}
static void calls(void)
{
    char c[64];
    struct epoll_event e;
    siginfo_t si;
    int sig;
    struct iovec v[3] = {{big, 70000}, {big + 70000, 1}, {big + 70001, sizeof big - 70001}}, w[2] = {{out, 100000}, {out + 100000, 200000}};
    struct msghdr send = {.msg_iov = v, .msg_iovlen = 3}, recv_ = {.msg_iov = w, .msg_iovlen = 2};
    struct io_event ev;
    struct sembuf down = {0, -1, 0};
    struct pollfd pf = {.fd = p[0], .events = POLLIN};
    if (IS("epoll_pwait")) CHECK_EQ(a, 1, SYS(epoll_pwait(ep, &e, 1, 3600000, &usr2)));
    else if (IS("epoll_pwait2")) CHECK_EQ(a, 1, SYS(syscall(SYS_epoll_pwait2, ep, &e, 1, &hour, NULL, 8)));
    else if (IS("ppoll_null")) CHECK_EQ(a, 1, SYS(ppoll(&pf, 1, NULL, NULL)));
    else if (IS("sigwait")) { PT(sigwait(&usr2, &sig)); CHECK_EQ(a, SIGUSR2, sig); }
    else if (IS("sigwaitinfo")) CHECK_EQ(a, SIGUSR2, SYS(sigwaitinfo(&usr2, &si)));
    else if (IS("writev")) CHECK_EQ(a, sizeof big, SYS(writev(p[1], v, 3)));
    else if (IS("pwritev2")) CHECK_EQ(a, sizeof big, SYS(pwritev2(p[1], v, 3, -1, 0)));
    else if (IS("sendmsg")) CHECK_EQ(a, sizeof big, SYS(sendmsg(s[1], &send, 0)));
    else if (IS("recv_waitall")) { CHECK_EQ(a, sizeof big, SYS(recv(s[0], out, sizeof out, MSG_WAITALL))); guest_verify(a, out, sizeof out, 4); }
    else if (IS("recvmsg_waitall")) { CHECK_EQ(a, sizeof big, SYS(recvmsg(s[0], &recv_, MSG_WAITALL))); guest_verify(a, out, sizeof out, 4); }
    else if (IS("readv")) CHECK_EQ(a, 1, SYS(readv(p[0], w, 2)));
    else if (IS("clock_abs")) { far_mono.tv_sec -= 3600; far_mono.tv_nsec += 500000000; far_mono.tv_sec += far_mono.tv_nsec / 1000000000; far_mono.tv_nsec %= 1000000000; CHECK_EQ(a, 0, clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &far_mono, NULL)); struct timespec now; clock_gettime(CLOCK_MONOTONIC, &now); CHECK(now.tv_sec > far_mono.tv_sec || (now.tv_sec == far_mono.tv_sec && now.tv_nsec >= far_mono.tv_nsec)); }
    else if (IS("futex_bitset")) {
        // A word that has changed before the call is repeated ends it with EAGAIN: futex(2).
        long ret = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &far_mono, NULL, 1);
        int why = ret < 0 ? errno : 0;
        CHECK(ret == 0 || (why == EAGAIN && word));
    }
    else if (IS("lock_pi")) PT(pthread_mutex_lock(&pi));
    else if (IS("lock_pi_timed")) PT(pthread_mutex_timedlock(&pi, &far));
    else if (IS("io_getevents")) CHECK_EQ(a, 1, SYS(syscall(SYS_io_getevents, aio, 1, 1, &ev, &hour)));
    else if (IS("msgsnd")) SYS(msgsnd(msg, &mb, sizeof mb.text, 0));
    else if (IS("semtimedop")) SYS(semtimedop(sem, &down, 1, &hour));
    else if (IS("mq_timedsend")) SYS(mq_timedsend(mq, "two", 3, 0, &far));
    else if (IS("accept4")) SYS(accept4(tcp, NULL, NULL, SOCK_CLOEXEC));
    else if (IS("read_signalfd")) CHECK_EQ(a, 128, SYS(read(sfd, out, sizeof out)));
    else if (IS("sem_clockwait")) SYS(sem_clockwait(&posix_sem, CLOCK_MONOTONIC, &far_mono));
    else if (IS("rwlock")) PT(pthread_rwlock_timedrdlock(&rw, &far));
    else if (IS("barrier")) pthread_barrier_wait(&bar);
    else if (IS("join")) CHECK_EQ(a, 5, (long)guest_join(joined));
    else if (IS("mutex_timed")) PT(pthread_mutex_clocklock(&m, CLOCK_MONOTONIC, &far_mono));
    else if (IS("pause")) { CHECK_EQ(a, -1, pause()); CHECK_EQ("hits", 1, hits); }
    else if (IS("sigsuspend")) { sigset_t none; sigemptyset(&none); sigaddset(&none, SIGUSR2); CHECK_EQ(a, -1, sigsuspend(&none)); CHECK_EQ("hits", 1, hits); }
    else if (IS("setlkw")) { struct flock l = {.l_type = F_WRLCK}; SYS(fcntl(lockfd, F_SETLKW, &l)); }
    else if (IS("connect_tcp")) SYS(recv(s[0], c, 1, 0));
    else if (IS("sendfile")) { off_t o = 0; while (o < (off_t)sizeof big) SYS(sendfile(p[1], file, &o, sizeof big - o)); }
    else if (IS("splice")) CHECK_EQ(a, 1, SYS(splice(p[0], NULL, q[1], NULL, 100, 0)));
    else if (IS("tee")) CHECK_EQ(a, 1, SYS(tee(p[0], q[1], 100, 0)));
    else if (IS("vfork")) { pid_t k = vfork(); if (k == 0) { syscall(SYS_read, p[0], c, 1); _exit(0); } guest_reap(k, 0); }
    else if (IS("tcdrain")) SYS(read(p[0], c, 1));
}
static void drain(int fd)
{
    for (int n = 0; n < (int)sizeof out;)
        n += SYS(read(fd, out + n, sizeof out - n));
    guest_verify(a, out, sizeof out, 4);
}
static void fill(int fd)
{
    for (int n = 0; n < (int)sizeof big;)
        n += SYS(write(fd, big + n, sizeof big - n));
}
static void fire(pthread_t t)
{
    struct sembuf up = {0, 1, 0};
    if (IS("sigwait") || IS("sigwaitinfo") || IS("read_signalfd")) SYS(kill(getpid(), SIGUSR2));
    else if (IS("writev") || IS("pwritev2") || IS("sendfile")) drain(p[0]);
    else if (IS("sendmsg")) drain(s[0]);
    else if (!strncmp(a, "recv", 4)) fill(s[1]);
    else if (IS("futex_bitset")) { word = 1; SYS(syscall(SYS_futex, &word, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 1)); }
    else if (!strncmp(a, "lock_pi", 7)) PT(pthread_mutex_unlock(&pi));
    else if (IS("io_getevents")) {
        struct iocb cb = {.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = file, .aio_buf = (uintptr_t)out, .aio_nbytes = 1}, *list[] = {&cb};
        SYS(syscall(SYS_io_submit, aio, 1, list));
    } else if (IS("msgsnd")) SYS(msgrcv(msg, &mb, sizeof mb.text, 0, 0));
    else if (IS("semtimedop")) SYS(semop(sem, &up, 1));
    else if (IS("mq_timedsend")) SYS(mq_receive(mq, out, 16, NULL));
    else if (IS("accept4")) SYS(connect(SYS(socket(AF_INET, SOCK_STREAM, 0)), (void *)&addr, sizeof addr));
    else if (IS("sem_clockwait")) SYS(sem_post(&posix_sem));
    else if (IS("rwlock")) PT(pthread_rwlock_unlock(&rw));
    else if (IS("barrier")) pthread_barrier_wait(&bar);
    else if (IS("mutex_timed")) PT(pthread_mutex_unlock(&m));
    else if (IS("pause") || IS("sigsuspend")) PT(pthread_kill(t, SIGUSR1));
    else if (IS("setlkw")) guest_note("unlock");
    else if (IS("connect_tcp")) SYS(send(s[1], "x", 1, 0));
    else SYS(write(p[1], "x", 1));
}
static void *run(void *x)
{
    (void)x;
    tid = gettid();
    calls();
    if (!fired && !IS("clock_abs"))
        guest_fail("%s returned before its event", a);
    return NULL;
}
int main(int argc, char **argv)
{
    if (argc < 2)
        SKIP("needs the name of a call");
    a = argv[1];
    setup();
    pthread_t t = guest_thread(run, NULL);
    AWAIT(tid);
    AWAIT(guest_state(tid) == 'S' || guest_state(tid) == 'D');
    guest_ready();
    fired = 1;
    fire(t);
    guest_join(t);
    if (msg)
        msgctl(msg, IPC_RMID, NULL);
    if (sem)
        semctl(sem, 0, IPC_RMID);
    return 0;
}
