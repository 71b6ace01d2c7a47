// UNIX datagrams: empty ones, a full queue, to itself, a peer that is gone or renamed, senders closed, credentials.
// args: empty full itself gone closed_senders creds two_peers unlinked
#include "../guest.h"
static struct sockaddr_un at(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    guest_path(a.sun_path, name);
    return a;
}
static int bound(const char *name)
{
    struct sockaddr_un a = at(name);
    int fd = SYS(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    SYS(bind(fd, (void *)&a, sizeof a));
    return fd;
}
int main(int argc, char **argv)
{
    (void)argc;
    struct sockaddr_un to = at("r"), from;
    socklen_t len = sizeof from;
    char buf[4096];
    int r = bound("r"), s = bound("s");
    SYS(connect(s, (void *)&to, sizeof to));
    if (guest_is(argv, "empty")) {
        SYS(send(s, "", 0, 0)), SYS(send(s, "a", 1, 0)), SYS(send(s, "", 0, 0)), SYS(send(s, "b", 1, 0));
        guest_ready();
        CHECK_EQ("empty", 0, SYS(recv(r, buf, 9, 0)));
        CHECK_EQ("a", 1, SYS(recv(r, buf, 9, 0)));
        CHECK_EQ("empty", 0, SYS(recv(r, buf, 9, 0)));
        CHECK_EQ("b", 1, SYS(recv(r, buf, 9, 0)));
        CHECK_EQ("nothing", -1, recv(r, buf, 9, 0));
    } else if (guest_is(argv, "full")) {
        int n = 0, i;
        for (n = 0; send(s, &n, sizeof n, 0) == sizeof n; n++) {
        }
        CHECK_EQ("full", EAGAIN, errno);
        guest_ready();
        CHECK_EQ("still full", -1, send(s, &n, sizeof n, 0));
        for (int k = 0; k < n; k++) {
            CHECK_EQ("recv", sizeof i, SYS(recv(r, &i, sizeof i, 0)));
            CHECK_EQ("order", k, i);
        }
        CHECK_EQ("nothing", -1, recv(r, buf, 9, 0));
    } else if (guest_is(argv, "itself")) {
        SYS(connect(r, (void *)&to, sizeof to));
        SYS(send(r, "me", 2, 0));
        guest_ready();
        CHECK_EQ("recv", 2, SYS(recvfrom(r, buf, 9, 0, (void *)&from, &len)));
        CHECK_STR("sender", to.sun_path, from.sun_path);
        SYS(send(r, "me2", 3, 0));
        CHECK_EQ("recv", 3, SYS(recv(r, buf, 9, 0)));
    } else if (guest_is(argv, "gone")) {
        close(r);
        guest_ready();
        CHECK_EQ("send", -1, send(s, "x", 1, 0));
        CHECK_EQ("error", ECONNREFUSED, (send(s, "x", 1, 0), errno == ENOTCONN ? ECONNREFUSED : errno));
    } else if (guest_is(argv, "closed_senders")) {
        int t = SYS(socket(AF_UNIX, SOCK_DGRAM, 0));
        SYS(sendto(t, "anon", 4, 0, (void *)&to, sizeof to));
        SYS(send(s, "named", 5, 0));
        close(t), close(s);
        SYS(unlink(PATH_OF("s")));
        guest_ready();
        CHECK_EQ("anon", 4, SYS(recvfrom(r, buf, 9, 0, (void *)&from, &len)));
        CHECK(len <= sizeof(sa_family_t));
        len = sizeof from;
        CHECK_EQ("named", 5, SYS(recvfrom(r, buf, 9, 0, (void *)&from, &len)));
        CHECK_STR("sender", PATH_OF("s"), from.sun_path);
        CHECK_EQ("no file", -1, access(PATH_OF("s"), F_OK));
    } else if (guest_is(argv, "creds")) {
        SYS(setsockopt(r, SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
        SYS(send(s, "c", 1, 0));
        SYS(send(s, "d", 1, 0));
        guest_ready();
        for (int i = 0; i < 2; i++) {
            char control[256];
            struct iovec iov = {buf, 9};
            struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
            CHECK_EQ("recvmsg", 1, SYS(recvmsg(r, &m, 0)));
            struct cmsghdr *h = CMSG_FIRSTHDR(&m);
            CHECK(h && h->cmsg_type == SCM_CREDENTIALS);
            struct ucred *u = (void *)CMSG_DATA(h);
            CHECK_EQ("pid", getpid(), u->pid);
            CHECK_EQ("uid", getuid(), u->uid);
        }
    } else if (guest_is(argv, "two_peers")) {
        struct sockaddr_un s_name = at("s");
        SYS(connect(r, (void *)&s_name, sizeof s_name));
        SYS(send(r, "to s", 4, 0)), SYS(send(s, "to r", 4, 0));
        guest_ready();
        CHECK_EQ("recv", 4, SYS(recv(s, buf, 9, 0)));
        CHECK_EQ("recv", 4, SYS(recv(r, buf, 9, 0)));
        int t = SYS(socket(AF_UNIX, SOCK_DGRAM, 0));
        CHECK_EQ("a third one is refused", -1, sendto(t, "x", 1, 0, (void *)&to, sizeof to));
        CHECK_EQ("errno", EPERM, (sendto(t, "x", 1, 0, (void *)&to, sizeof to), errno));
        SYS(send(r, "again", 5, 0));
        CHECK_EQ("recv", 5, SYS(recv(s, buf, 9, 0)));
    } else {
        SYS(unlink(PATH_OF("r")));
        SYS(send(s, "before", 6, 0));
        guest_ready();
        CHECK_EQ("no file", -1, access(PATH_OF("r"), F_OK));
        SYS(send(s, "after", 5, 0));
        CHECK_EQ("recv", 6, SYS(recv(r, buf, 9, 0)));
        CHECK_EQ("recv", 5, SYS(recvfrom(r, buf, 9, 0, (void *)&from, &len)));
        CHECK_STR("sender", PATH_OF("s"), from.sun_path);
    }
    return 0;
}
