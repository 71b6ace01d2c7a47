// A socketpair of each type with data queued in both directions.
// args: stream dgram seqpacket
#include "../guest.h"
int main(int argc, char **argv)
{
    (void)argc;
    int s[2], type = guest_is(argv, "stream") ? SOCK_STREAM : guest_is(argv, "dgram") ? SOCK_DGRAM : SOCK_SEQPACKET, n;
    char buf[3000];
    SYS(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, s));
    SYS(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &(int){100000}, sizeof n));
    for (int i = 0; i < 5; i++) {
        guest_fill(buf, 100 + i, i);
        CHECK_EQ("send", 100 + i, send(s[0], buf, 100 + i, 0));
        CHECK_EQ("send", 3, send(s[1], "abc", 3, 0));
    }
    guest_ready();
    for (int i = 0; i < 5; i++) {
        size_t want = type == SOCK_STREAM ? 100u + i : sizeof buf;
        CHECK_EQ("recv", 100 + i, recv(s[1], buf, want, 0));
        guest_verify("message", buf, 100 + i, i);
        CHECK_EQ("recv", 3, recv(s[0], buf, 3, 0));
    }
    CHECK_EQ("empty", -1, recv(s[1], buf, 1, MSG_DONTWAIT));
    CHECK_EQ("cloexec", FD_CLOEXEC, fcntl(s[0], F_GETFD));
    socklen_t len = sizeof n;
    SYS(getsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &n, &len));
    CHECK_EQ("SO_SNDBUF", 200000, n);
    CHECK_EQ("send", 2, send(s[1], "ok", 2, 0));
    CHECK_EQ("recv", 2, recv(s[0], buf, 2, 0));
    if (type != SOCK_DGRAM) {
        close(s[1]);
        CHECK_EQ("EOF", 0, recv(s[0], buf, 1, 0));
    }
    return 0;
}
