// A blocked call never sees EINTR because of a checkpoint, ends at its event, and not before.
// args: poll ppoll select pselect epoll_wait nanosleep clock_nanosleep sem_wait sem_timedwait cond_timedwait msgrcv semop recv_timeo recvmsg sigtimedwait read_pipe write_pipe accept futex wait4 waitid flock fcntl_lock mq_receive read_tty open_fifo connect_unix read_eventfd read_timerfd read_inotify usleep futex_waitv
#include "../guest.h"
#include <pty.h>
static char **args;
static volatile pid_t tid;
static int p[2], s[2], ep, ef, tf, listener, msg, sem, lockfd, lockfd2, ptm, pts, in;
static sem_t posix_sem;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static volatile int word, fired;
static pid_t child;
static mqd_t mq = -1;
static struct timespec far;
static struct sockaddr_un addr = {.sun_family = AF_UNIX};

static void setup(void)
{
    SYS(pipe(p));
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    SYS(sem_init(&posix_sem, 0, 0));
    clock_gettime(CLOCK_REALTIME, &far);
    far.tv_sec += 3600;
    if (guest_is(args, "epoll_wait")) {
        struct epoll_event e = {.events = EPOLLIN};
        ep = SYS(epoll_create1(0));
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    } else if (guest_is(args, "msgrcv"))
        msg = SYS(msgget(guest_key(1), IPC_CREAT | 0600));
    else if (guest_is(args, "semop")) {
        sem = SYS(semget(guest_key(1), 1, IPC_CREAT | 0600));
        SYS(semctl(sem, 0, SETVAL, 0));
    } else if (guest_is(args, "accept")) {
        guest_path(addr.sun_path, "sock");
        listener = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
        SYS(bind(listener, (void *)&addr, sizeof addr));
        SYS(listen(listener, 5));
    } else if (guest_is(args, "connect_unix")) {
        guest_path(addr.sun_path, "sock");
        listener = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
        SYS(bind(listener, (void *)&addr, sizeof addr));
        SYS(listen(listener, 0));
        SYS(connect(SYS(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&addr, sizeof addr));
    } else if (guest_is(args, "wait4") || guest_is(args, "waitid")) {
        child = SYS(fork());
        if (child == 0) {
            guest_await("fire");
            _exit(4);
        }
    } else if (guest_is(args, "flock") || guest_is(args, "fcntl_lock")) {
        lockfd = SYS(open(PATH_OF("lock"), O_RDWR | O_CREAT, 0600));
        lockfd2 = SYS(open(PATH_OF("lock"), O_RDWR));
        SYS(flock(lockfd, LOCK_EX));
        struct flock l = {.l_type = F_WRLCK};
        SYS(fcntl(lockfd, F_OFD_SETLK, &l));
    } else if (guest_is(args, "mq_receive")) {
        struct mq_attr a = {.mq_maxmsg = 2, .mq_msgsize = 16};
        mq = mq_open(OBJECT("eintr"), O_CREAT | O_RDWR, 0600, &a);
        if (mq < 0)
            SKIP("no POSIX message queues: %s", strerror(errno));
        SYS(mq_unlink(OBJECT("eintr")));
    } else if (guest_is(args, "read_tty"))
        SYS(openpty(&ptm, &pts, NULL, NULL, NULL));
    else if (guest_is(args, "open_fifo"))
        SYS(mkfifo(PATH_OF("fifo"), 0600));
    else if (guest_is(args, "read_eventfd"))
        ef = SYS(eventfd(0, 0));
    else if (guest_is(args, "read_timerfd")) {
        struct itimerspec it = {.it_value = {3600, 0}};
        tf = SYS(timerfd_create(CLOCK_MONOTONIC, 0));
        SYS(timerfd_settime(tf, 0, &it, NULL));
    } else if (guest_is(args, "read_inotify")) {
        in = SYS(inotify_init1(0));
        SYS(inotify_add_watch(in, guest_dir, IN_DELETE));
        guest_note("victim");
    }
}

static void sleeps(void)
{
    struct timespec half = {0, 400000000}, hour = {3600, 0};
    if (guest_is(args, "nanosleep"))
        SYS(nanosleep(&half, NULL));
    else if (guest_is(args, "usleep"))
        SYS(usleep(400000));
    else
        CHECK_EQ("clock_nanosleep", 0, clock_nanosleep(CLOCK_MONOTONIC, 0, &half, NULL));
    (void)hour;
}

/* A word that has changed before the call is repeated ends it with EAGAIN: futex(2). */
static void woken(long ret)
{
    int why = ret < 0 ? errno : 0;
    CHECK(ret >= 0 || (why == EAGAIN && word));
}

static void blocks(void)
{
    char c[64], big[65536] = {0};
    struct pollfd pf = {.fd = p[0], .events = POLLIN};
    struct epoll_event e;
    struct timespec hour = {3600, 0};
    struct timeval hour_tv = {3600, 0};
    fd_set fds;
    struct { long type; char text[8]; } mb;
    struct sembuf down = {0, -1, 0};
    struct iovec iov = {c, sizeof c};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    sigset_t usr2;
    siginfo_t si;
    int st;
    FD_ZERO(&fds);
    FD_SET(p[0], &fds);
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    const char *a = args[1];
#define IS(x) (!strcmp(a, x))
    if (IS("poll")) CHECK_EQ("poll", 1, SYS(poll(&pf, 1, 3600000)));
    else if (IS("ppoll")) CHECK_EQ("ppoll", 1, SYS(ppoll(&pf, 1, &hour, &usr2)));
    else if (IS("select")) CHECK_EQ("select", 1, SYS(select(p[0] + 1, &fds, NULL, NULL, &hour_tv)));
    else if (IS("pselect")) CHECK_EQ("pselect", 1, SYS(pselect(p[0] + 1, &fds, NULL, NULL, &hour, &usr2)));
    else if (IS("epoll_wait")) CHECK_EQ("epoll_wait", 1, SYS(epoll_wait(ep, &e, 1, 3600000)));
    else if (IS("sem_wait")) SYS(sem_wait(&posix_sem));
    else if (IS("sem_timedwait")) SYS(sem_timedwait(&posix_sem, &far));
    else if (IS("cond_timedwait")) {
        PT(pthread_mutex_lock(&m));
        while (!word)
            PT(pthread_cond_timedwait(&cond, &m, &far));
        PT(pthread_mutex_unlock(&m));
    } else if (IS("msgrcv")) CHECK_EQ("msgrcv", 3, SYS(msgrcv(msg, &mb, sizeof mb.text, 0, 0)));
    else if (IS("semop")) SYS(semop(sem, &down, 1));
    else if (IS("recv_timeo")) {
        SYS(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &hour_tv, sizeof hour_tv));
        CHECK_EQ("recv", 1, SYS(recv(s[0], c, 1, 0)));
    } else if (IS("recvmsg")) CHECK_EQ("recvmsg", 1, SYS(recvmsg(s[0], &mh, 0)));
    else if (IS("sigtimedwait")) CHECK_EQ("sigtimedwait", SIGUSR2, SYS(sigtimedwait(&usr2, &si, &hour)));
    else if (IS("read_pipe")) CHECK_EQ("read", 1, SYS(read(p[0], c, sizeof c)));
    else if (IS("write_pipe")) CHECK_EQ("write", sizeof big, SYS(write(p[1], big, sizeof big)));
    else if (IS("accept")) SYS(accept(listener, NULL, NULL));
    else if (IS("futex")) woken(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &hour, NULL, 0));
    else if (IS("wait4")) CHECK_EQ("wait4", child, SYS(wait4(child, &st, 0, NULL)));
    else if (IS("waitid")) SYS(waitid(P_ALL, 0, &si, WEXITED));
    else if (IS("flock")) SYS(flock(lockfd2, LOCK_EX));
    else if (IS("fcntl_lock")) {
        struct flock l = {.l_type = F_WRLCK};
        SYS(fcntl(lockfd2, F_OFD_SETLKW, &l));
    } else if (IS("mq_receive")) CHECK_EQ("mq_receive", 2, SYS(mq_receive(mq, c, sizeof c, NULL)));
    else if (IS("read_tty")) CHECK_EQ("read", 3, SYS(read(pts, c, sizeof c)));
    else if (IS("open_fifo")) SYS(open(PATH_OF("fifo"), O_RDONLY));
    else if (IS("connect_unix")) SYS(connect(SYS(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&addr, sizeof addr));
    else if (IS("read_eventfd")) CHECK_EQ("read", 8, SYS(read(ef, c, 8)));
    else if (IS("read_timerfd")) CHECK_EQ("read", 8, SYS(read(tf, c, 8)));
    else if (IS("read_inotify")) CHECK(SYS(read(in, big, sizeof big)) > 0);
    else if (IS("futex_waitv")) {
        struct { uint64_t val, uaddr; uint32_t flags, reserved; } w = {0, (uintptr_t)&word, 2 | 128, 0};
        woken(syscall(449, &w, 1, 0, NULL, 0));
    } else sleeps();
}

static void fire(void)
{
    struct sembuf up = {0, 1, 0};
    struct { long type; char text[3]; } mb = {1, "abc"};
    char big[65536];
    const char *a = args[1];
    if (IS("sem_wait") || IS("sem_timedwait")) SYS(sem_post(&posix_sem));
    else if (IS("cond_timedwait")) {
        PT(pthread_mutex_lock(&m));
        word = 1;
        PT(pthread_cond_signal(&cond));
        PT(pthread_mutex_unlock(&m));
    } else if (IS("msgrcv")) SYS(msgsnd(msg, &mb, 3, 0));
    else if (IS("semop")) SYS(semop(sem, &up, 1));
    else if (!strncmp(a, "recv", 4)) CHECK_EQ("write", 1, write(s[1], "x", 1));
    else if (IS("sigtimedwait")) SYS(kill(getpid(), SIGUSR2));
    else if (IS("write_pipe")) CHECK(read(p[0], big, sizeof big) > 0);
    else if (IS("accept")) SYS(connect(SYS(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&addr, sizeof addr));
    else if (IS("futex") || IS("futex_waitv")) {
        word = 1;
        SYS(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    } else if (IS("wait4") || IS("waitid")) guest_note("fire");
    else if (IS("flock") || IS("fcntl_lock")) {
        struct flock l = {.l_type = F_UNLCK};
        SYS(fcntl(lockfd, F_OFD_SETLK, &l));
        SYS(flock(lockfd, LOCK_UN));
    } else if (IS("mq_receive")) SYS(mq_send(mq, "hi", 2, 0));
    else if (IS("read_tty")) CHECK_EQ("write", 3, write(ptm, "ab\n", 3));
    else if (IS("open_fifo")) SYS(open(PATH_OF("fifo"), O_WRONLY));
    else if (IS("connect_unix")) SYS(accept(listener, NULL, NULL));
    else if (IS("read_eventfd")) CHECK_EQ("write", 8, write(ef, &(uint64_t){3}, 8));
    else if (IS("read_timerfd")) {
        struct itimerspec it = {.it_value = {0, 1}};
        SYS(timerfd_settime(tf, 0, &it, NULL));
    } else if (IS("read_inotify")) SYS(unlink(PATH_OF("victim")));
    else CHECK_EQ("write", 1, write(p[1], "x", 1));
}

static void *run(void *x)
{
    (void)x;
    tid = gettid();
    blocks();
    if (!fired && !strstr(args[1], "sleep"))
        guest_fail("%s returned before its event", args[1]);
    return NULL;
}

int main(int argc, char **argv)
{
    sigset_t usr2;
    char big[65536] = {0};
    if (argc < 2)
        SKIP("needs the name of a call");
    args = argv;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    SYS(sigprocmask(SIG_BLOCK, &usr2, NULL));
    setup();
    if (guest_is(argv, "write_pipe"))
        CHECK_EQ("fill", sizeof big, SYS(write(p[1], big, sizeof big)));
    pthread_t t = guest_thread(run, NULL);
    AWAIT(tid);
    if (!strstr(argv[1], "sleep"))
        AWAIT(guest_state(tid) == 'S');
    guest_ready();
    fired = 1;
    fire();
    guest_join(t);
    if (msg)
        msgctl(msg, IPC_RMID, NULL);
    if (sem)
        semctl(sem, 0, IPC_RMID);
    if (guest_is(argv, "waitid") || guest_is(argv, "wait4"))
        CHECK_EQ("no more children", -1, wait(NULL));
    return 0;
}
