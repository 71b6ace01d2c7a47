// What a program closes or unmaps is closed at once, whatever copies a checkpoint has made meanwhile: a lock is free, a port, a pipe
// ends, a file can be executed or sealed, nobody is attached. By processes, by threads, beside a queue's notification.
// args: flock bind exec pipe epoll attached lease sealed exec_mapped fifo flock_threads bind_threads pipe_threads epoll_threads lease_threads pipe_notified bind_notified
#include "../guest.h"
static char *own_file(char *buf)
{
    sprintf(guest_path(buf, "file") + strlen(buf), ".%d", gettid());
    return buf;
}
#define OWN_FILE own_file((char[256]){0})
static int going(void)
{
    static __thread int n;
    return ++n % 16 == 0 && guest_going();
}
static void do_flock(void)
{
    const char *name = OWN_FILE;
    while (!going()) {
        int fd = SYS(open(name, O_RDWR | O_CREAT, 0600));
        SYS(flock(fd, LOCK_EX | LOCK_NB));
        close(fd);
    }
}
static void do_bind(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    for (int i = 0; !going(); i++) {
        int fd = SYS(socket(AF_INET, SOCK_STREAM, 0));
        SYS(bind(fd, (void *)&a, sizeof a));
        SYS(getsockname(fd, (void *)&a, &len));
        if (i & 1)
            SYS(listen(fd, 3));
        close(fd);
    }
}
static char program[1 << 20];
static size_t load_program(void)
{
    int fd = SYS(open("/bin/true", O_RDONLY));
    size_t len = SYS(read(fd, program, sizeof program));
    close(fd);
    return len;
}
static void run_it(const char *name)
{
    pid_t kid = SYS(fork());
    if (kid == 0) {
        execl(name, name, NULL);
        _exit(errno == ETXTBSY ? 26 : 99);
    }
    guest_reap(kid, 0);
}
static void do_exec(void)
{
    const char *name = OWN_FILE;
    size_t len = load_program();
    while (!going()) {
        int fd = SYS(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0700));
        CHECK(write(fd, program, len) == (ssize_t)len);
        close(fd);
        run_it(name);
    }
}
static void do_exec_mapped(void)
{
    const char *name = OWN_FILE;
    size_t len = load_program();
    while (!going()) {
        unlink(name);
        int fd = SYS(open(name, O_RDWR | O_CREAT, 0700));
        SYS(ftruncate(fd, len));
        char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(p != MAP_FAILED);
        close(fd);
        memcpy(p, program, len);
        munmap(p, len);
        run_it(name);
    }
}
static void do_pipe(void)
{
    char x;
    int p[2];
    while (!going()) {
        SYS(pipe2(p, O_NONBLOCK));
        close(p[1]);
        CHECK_EQ("end of a pipe", 0, read(p[0], &x, 1));
        close(p[0]);
        SYS(pipe(p));
        close(p[0]);
        CHECK_EQ("nobody reads", -1, write(p[1], "x", 1));
        close(p[1]);
        SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p));
        close(p[1]);
        CHECK_EQ("end of a stream", 0, read(p[0], &x, 1));
        close(p[0]);
    }
}
static void do_epoll(void)
{
    int e = SYS(epoll_create1(0)), p[2];
    while (!going()) {
        struct epoll_event v = {.events = EPOLLIN}, got;
        SYS(pipe(p));
        SYS(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &v));
        CHECK(write(p[1], "x", 1) == 1);
        close(p[0]);
        CHECK_EQ("no event of what is closed", 0, SYS(epoll_wait(e, &got, 1, 0)));
        close(p[1]);
    }
    close(e);
}
static void do_attached(void)
{
    while (!going()) {
        int id = SYS(shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600));
        void *p = shmat(id, NULL, 0);
        CHECK(p != (void *)-1);
        SYS(shmdt(p));
        struct shmid_ds d;
        SYS(shmctl(id, IPC_STAT, &d));
        SYS(shmctl(id, IPC_RMID, NULL));
        CHECK_EQ("attached", 0, d.shm_nattch);
    }
}
static void do_lease(void)
{
    const char *name = OWN_FILE;
    while (!going()) {
        int fd = SYS(open(name, O_RDWR | O_CREAT, 0600));
        CHECK(write(fd, "x", 1) == 1);
        close(fd);
        fd = SYS(open(name, O_RDONLY));
        SYS(fcntl(fd, F_SETLEASE, F_RDLCK));
        SYS(fcntl(fd, F_SETLEASE, F_UNLCK));
        close(fd);
    }
}
static void do_sealed(void)
{
    while (!going()) {
        int fd = SYS(memfd_create("sealed", MFD_ALLOW_SEALING));
        SYS(ftruncate(fd, 8192));
        char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(p != MAP_FAILED);
        p[4096] = 1;
        munmap(p, 8192);
        SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
        close(fd);
    }
}
// A writer may come as soon as there is a reader, and only then; what nobody reads any more is gone.
static int answers[2];
static void fifo_writer(void)
{
    char x;
    for (long i = 0;; i++) {
        int fd = SYS(open(PATH_OF("fifo"), O_WRONLY));
        long v = guest_going() ? -1 : i;
        CHECK(write(fd, &v, sizeof v) == sizeof v);
        close(fd);
        if (v == -1)
            return;
        CHECK_EQ("answer", 1, SYS(read(answers[0], &x, 1)));
    }
}
static void fifo_reader(void)
{
    for (long i = 0, v;; i++) {
        int fd = SYS(open(PATH_OF("fifo"), O_RDONLY));
        CHECK_EQ("number", (long)sizeof v, SYS(read(fd, &v, sizeof v)));
        if (v == -1)
            return;
        CHECK_EQ("number", i, v);
        CHECK_EQ("end", 0, SYS(read(fd, &v, sizeof v)));
        close(fd);
        CHECK(write(answers[1], "x", 1) == 1);
    }
}
static void (*work)(void);
static void *worker(void *arg)
{
    work();
    return arg;
}
static void in_threads(void)
{
    pthread_t t[3];
    // Of descriptors below 64 the kernel makes copies for some microseconds when a thread leaves the table that it shares.
    while (SYS(dup(2)) < 64)
        continue;
    for (int i = 0; i < 3; i++)
        t[i] = guest_thread(worker, NULL);
    for (int i = 0; i < 3; i++)
        guest_join(t[i]);
}
static void beside_a_queue(void)
{
    char name[64];
    sprintf(guest_object(name, "q") + strlen(name), "%d", getpid());
    struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 8};
    mqd_t q = SYS(mq_open(name, O_CREAT | O_RDWR, 0600, &attr));
    mq_unlink(name);
    signal(SIGUSR1, SIG_IGN);
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    SYS(mq_notify(q, &e));
    work();
    CHECK_EQ("still registered", -1, mq_notify(q, &e));
}
int main(int argc, char **argv)
{
    (void)argc;
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {{"flock", do_flock}, {"bind", do_bind}, {"exec", do_exec}, {"pipe", do_pipe}, {"epoll", do_epoll}, {"attached", do_attached}, {"lease", do_lease}, {"sealed", do_sealed}, {"exec_mapped", do_exec_mapped}};
    char name[32], *how;
    pid_t kids[2];
    signal(SIGPIPE, SIG_IGN);
    sprintf(name, "%s", argv[1]);
    if (guest_is(argv, "fifo")) {
        SYS(mkfifo(PATH_OF("fifo"), 0600));
        SYS(pipe(answers));
        kids[0] = guest_fork(fifo_writer), kids[1] = guest_fork(fifo_reader);
    } else {
        if ((how = strstr(name, "_threads")) || (how = strstr(name, "_notified")))
            *how++ = 0;
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            if (!strcmp(name, all[i].name))
                work = all[i].run;
        CHECK(work);
        for (int i = 0; i < 2; i++)
            kids[i] = guest_fork(!how ? work : *how == 't' ? in_threads : beside_a_queue);
    }
    guest_ready();
    guest_reap(kids[0], 0), guest_reap(kids[1], 0);
    return 0;
}
