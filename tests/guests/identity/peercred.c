// SO_PEERCRED of a socketpair and of an accepted connection.
#include "../guest.h"
static struct sockaddr_un addr = {.sun_family = AF_UNIX};
static void child(void)
{
    int fd = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
    SYS(connect(fd, (void *)&addr, sizeof addr));
    guest_note("connected");
    guest_await_go();
}
static void is(int fd, pid_t want)
{
    struct ucred c;
    socklen_t len = sizeof c;
    SYS(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len));
    CHECK_EQ("pid", want, c.pid);
    CHECK_EQ("uid", getuid(), c.uid);
    CHECK_EQ("gid", getgid(), c.gid);
}
int main(void)
{
    int s[2];
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    guest_path(addr.sun_path, "sock");
    int l = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
    SYS(bind(l, (void *)&addr, sizeof addr));
    SYS(listen(l, 5));
    pid_t kid = guest_fork(child);
    int c = SYS(accept(l, NULL, NULL));
    guest_await("connected");
    is(c, kid);
    guest_ready();
    is(s[0], getpid());
    is(c, kid);
    guest_reap(kid, 0);
    return 0;
}
