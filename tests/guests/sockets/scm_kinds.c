// Descriptors that only a message on its way has: a lock of theirs stays; what only its process can give back is refused until it is received.
// args: lock pidfd proc
#include "../guest.h"
static int sp[2];
static void give(int fd)
{
    char c = 'f', ctl[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec v = {&c, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof ctl};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &fd, sizeof fd);
    SYS(sendmsg(sp[0], &m, 0));
    close(fd);
}
static int take(void)
{
    char c, ctl[CMSG_SPACE(sizeof(int))];
    int fd;
    struct iovec v = {&c, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof ctl};
    SYS(recvmsg(sp[1], &m, 0));
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    CHECK(h != NULL);
    memcpy(&fd, CMSG_DATA(h), sizeof fd);
    return fd;
}
int main(int argc, char **argv)
{
    CHECK(argc > 1);
    int fd, n;
    char buf[4096] = {0};
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, sp));
    if (guest_is(argv, "lock")) {
        fd = SYS(open(PATH_OF("x"), O_RDWR | O_CREAT, 0600)), SYS(flock(fd, LOCK_EX));
        give(fd);
        guest_ready();
        n = SYS(open(PATH_OF("x"), O_RDWR));
        CHECK_EQ("locked", -1, flock(n, LOCK_SH | LOCK_NB));
        fd = take();
        close(fd);
        SYS(flock(n, LOCK_SH | LOCK_NB));
    } else if (guest_is(argv, "pidfd")) {
        guest_refused("a message on its way");
        pid_t kid = SYS(fork());
        if (kid == 0)
            for (;;)
                pause();
        give(SYS(syscall(SYS_pidfd_open, kid, 0)));
        guest_ready();
        fd = take();
        SYS(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0));
        siginfo_t i;
        SYS(waitid(P_PIDFD, fd, &i, WEXITED));
        CHECK_EQ("who", kid, i.si_pid);
    } else {
        guest_refused("a message on its way");
        give(SYS(open("/proc/self/status", O_RDONLY)));
        guest_ready();
        fd = take();
        CHECK(SYS(read(fd, buf, sizeof buf - 1)) > 100);
        char want[32];
        sprintf(want, "\nPid:\t%d\n", getpid());
        CHECK(strstr(buf, want));
    }
    return 0;
}
