// pidfds of a child, of oneself and of a grandchild: signal, poll, getfd and wait go on.
#include "../guest.h"
static volatile int *shared;
static void on_usr1(int s) { (void)s, shared[1]++; }
static void child(void)
{
    signal(SIGUSR1, on_usr1);
    int fd = SYS(memfd_create("x", 0));
    CHECK_EQ("write", 5, write(fd, "hello", 5));
    shared[0] = fd;
    guest_await_go();
    AWAIT(shared[1] == 1);
    _exit(2);
}
int main(void)
{
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t kid = guest_fork(child);
    AWAIT(shared[0]);
    int pfd = SYS(syscall(SYS_pidfd_open, kid, 0)), own = SYS(syscall(SYS_pidfd_open, getpid(), 0));
    signal(SIGUSR2, SIG_IGN);
    guest_ready();
    SYS(syscall(SYS_pidfd_send_signal, own, SIGUSR2, NULL, 0));
    char buf[8] = "";
    int fd = syscall(SYS_pidfd_getfd, pfd, shared[0], 0);
    if (fd >= 0) {
        CHECK_EQ("pread", 5, pread(fd, buf, 5, 0));
        CHECK_STR("content", "hello", buf);
    }
    SYS(syscall(SYS_pidfd_send_signal, pfd, SIGUSR1, NULL, 0));
    struct pollfd pf = {.fd = pfd, .events = POLLIN};
    CHECK_EQ("poll", 1, SYS(poll(&pf, 1, -1)));
    siginfo_t i;
    SYS(waitid(3, pfd, &i, WEXITED));
    CHECK_EQ("status", 2, i.si_status);
    return 0;
}
