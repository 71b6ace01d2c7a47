// A pidfd of who is at the other end (SO_PEERPIDFD), or has sent what waits here (SCM_PIDFD beside its credentials).
// args: connection message
#include "../guest.h"
static struct sockaddr_un addr = {.sun_family = AF_UNIX};
static int s[2];
static void connects(void)
{
    int fd = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
    SYS(connect(fd, (void *)&addr, sizeof addr));
    guest_note("there");
    guest_await("told");
}
static void sends(void)
{
    SYS(send(s[1], "hello", 5, 0));
    guest_note("there");
    guest_await("told");
}
static int of_peer(int fd)
{
    int pidfd = -1;
    socklen_t len = sizeof pidfd;
    if (getsockopt(fd, SOL_SOCKET, 77 /* SO_PEERPIDFD */, &pidfd, &len))
        SKIP("SO_PEERPIDFD: %s", strerror(errno));
    return pidfd;
}
static int of_sender(pid_t want)
{
    char data[8], control[128];
    int pidfd = -1;
    struct iovec v = {data, sizeof data};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    CHECK_EQ("message", 5, SYS(recvmsg(s[0], &m, 0)));
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_type == SCM_CREDENTIALS)
            CHECK_EQ("sender", want, ((struct ucred *)CMSG_DATA(c))->pid);
        else if (c->cmsg_type == 4 /* SCM_PIDFD */)
            memcpy(&pidfd, CMSG_DATA(c), sizeof pidfd);
    }
    return pidfd;
}
int main(int argc, char **argv)
{
    (void)argc;
    int pidfd;
    pid_t kid;
    if (guest_is(argv, "connection")) {
        guest_path(addr.sun_path, "sock");
        int l = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
        SYS(bind(l, (void *)&addr, sizeof addr));
        SYS(listen(l, 5));
        kid = guest_fork(connects);
        int c = SYS(accept(l, NULL, NULL));
        guest_await("there");
        close(of_peer(c));
        guest_ready();
        pidfd = of_peer(c);
    } else {
        SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
        SYS(setsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
        if (setsockopt(s[0], SOL_SOCKET, 76 /* SO_PASSPIDFD */, &(int){1}, sizeof(int)))
            SKIP("SO_PASSPIDFD: %s", strerror(errno));
        kid = guest_fork(sends);
        guest_await("there");
        guest_ready();
        pidfd = of_sender(kid);
    }
    CHECK_EQ("close-on-exec", FD_CLOEXEC, fcntl(pidfd, F_GETFD));
    struct pollfd p = {pidfd, POLLIN, 0};
    CHECK_EQ("still there", 0, poll(&p, 1, 0));
    SYS(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0));
    guest_note("told");
    CHECK_EQ("ended", 1, poll(&p, 1, 5000));
    guest_reap(kid, 0);
    return 0;
}
