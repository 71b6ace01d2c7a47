// Processes in one memory that differ in all the rest: folder, descriptors, session, handlers, timers, threads, children.
// args: own thread sibling stopped forks files_forks signal orphan zombie
#include "../guest.h"
static volatile int up, stop, hits, inner_up;
static volatile pid_t inner;
static char stacks[4][65536];
static char **args;
static void on_alarm(int s) { (void)s, hits++; }
static void nap(void) { syscall(SYS_nanosleep, &(struct timespec){0, 1000000}, NULL); }
#define UNTIL(cond)                                                                                                    \
    while (!(cond))                                                                                                    \
    nap()
static char child_cwd[300];
static int own(void)
{
    struct sigaction sa = {.sa_handler = on_alarm};
    struct itimerval soon = {.it_interval = {0, 20000}, .it_value = {0, 20000}}, off = {0};
    int fd = SYS(open("/etc/passwd", O_RDONLY));
    SYS(setsid());
    SYS(chdir("/usr"));
    umask(0123);
    SYS(lseek(fd, 7, SEEK_SET));
    SYS(dup2(fd, 90));
    SYS(fcntl(90, F_SETFD, FD_CLOEXEC));
    SYS(sigaction(SIGALRM, &sa, NULL));
    SYS(syscall(SYS_setitimer, ITIMER_REAL, &soon, NULL));
    pid_t self = syscall(SYS_getpid);
    up = 1;
    UNTIL(stop);
    CHECK_EQ("session", self, syscall(SYS_getsid, 0));
    CHECK_EQ("group", self, syscall(SYS_getpgid, 0));
    CHECK(getcwd(child_cwd, sizeof child_cwd));
    CHECK_STR("folder", "/usr", child_cwd);
    CHECK_EQ("umask", 0123, umask(0));
    CHECK_EQ("offset", 7, lseek(90, 0, SEEK_CUR));
    CHECK_EQ("close-on-exec", FD_CLOEXEC, fcntl(90, F_GETFD));
    hits = 0;
    UNTIL(hits > 1);
    SYS(syscall(SYS_setitimer, ITIMER_REAL, &off, NULL));
    return 5;
}
static int in_thread(void *x)
{
    (void)x;
    inner_up = 1;
    UNTIL(stop);
    inner_up = 2;
    syscall(SYS_exit, 0);
    return 0;
}
static int leaf(void *x)
{
    pid_t pid = 0;
    int st;
    (void)x;
    if (guest_is(args, "own"))
        return own();
    if (guest_is(args, "thread")) {
        SYS(clone(in_thread, stacks[2] + 65536, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL));
        UNTIL(inner_up);
    } else if (guest_is(args, "forks") || guest_is(args, "zombie")) {
        pid = SYS(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
        if (pid == 0) {
            if (guest_is(args, "forks"))
                while (access(PATH_OF("go"), F_OK))
                    nap();
            syscall(SYS_exit_group, 9);
        }
        if (guest_is(args, "zombie"))
            SYS(syscall(SYS_waitid, P_PID, pid, NULL, WEXITED | WNOWAIT, NULL));
    }
    up = 1;
    UNTIL(stop);
    if (guest_is(args, "thread"))
        UNTIL(inner_up == 2);
    if (pid) {
        CHECK_EQ("child", pid, syscall(SYS_wait4, pid, &st, 0, NULL));
        CHECK_EQ("status", 9, WEXITSTATUS(st));
    }
    // Of exit(2) the kernel takes the status from the thread that ends last.
    syscall(SYS_exit_group, 5);
    return 5;
}
static int middle(void *x)
{
    (void)x;
    inner = SYS(clone(leaf, stacks[1] + 65536, CLONE_VM | (guest_is(args, "sibling") ? CLONE_PARENT : 0) | SIGCHLD, NULL));
    UNTIL(up);
    return 0;
}
static void files_forks(void)
{
    int status;
    SYS(dup2(0, 91));
    pid_t kid = SYS(syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
    if (kid == 0) {
        pid_t own = SYS(fork());
        if (own == 0) {
            close(91);
            guest_await_go();
            CHECK_EQ("closed in a table of its own", -1, fcntl(91, F_GETFD));
            _exit(6);
        }
        AWAIT(guest_noted("go"));
        guest_reap(own, 6);
        close(91);
        _exit(5);
    }
    guest_ready();
    SYS(waitpid(kid, &status, 0));
    CHECK_EQ("status", 5, WEXITSTATUS(status));
    CHECK_EQ("closed by the child", -1, fcntl(91, F_GETFD));
}
int main(int argc, char **argv)
{
    int status, signal_of_end = guest_is(argv, "signal") ? SIGUSR1 : SIGCHLD;
    (void)argc;
    args = argv;
    if (guest_is(argv, "files_forks"))
        return files_forks(), 0;
    if (guest_is(argv, "signal"))
        signal(SIGUSR1, on_alarm);
    if (guest_is(argv, "orphan"))
        SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
    int through = guest_is(argv, "sibling") || guest_is(argv, "orphan");
    pid_t kid = SYS(clone(through ? middle : leaf, stacks[0] + 65536, CLONE_VM | signal_of_end, NULL));
    AWAIT(up);
    if (through) {
        guest_reap(kid, 0);
        kid = inner;
    }
    if (guest_is(argv, "stopped")) {
        SYS(kill(kid, SIGSTOP));
        CHECK_EQ("stop", kid, SYS(waitpid(kid, &status, WUNTRACED)));
    }
    guest_ready();
    if (guest_is(argv, "stopped")) {
        CHECK_EQ("state", 'T', guest_state(kid));
        SYS(kill(kid, SIGCONT));
    }
    stop = 1;
    CHECK_EQ("wait", kid, SYS(waitpid(kid, &status, __WALL)));
    CHECK_EQ("status", 5, WEXITSTATUS(status));
    if (guest_is(argv, "signal"))
        CHECK_EQ("signal of its end", 1, hits);
    return 0;
}
