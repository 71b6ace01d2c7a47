// TCP sockets in other states: fresh, bound, listening with a backlog, half closed either way, at its end.
// args: plain backlog_data
#include "../guest.h"
static struct sockaddr_in any(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return a;
}
int main(int argc, char **argv)
{
    struct sockaddr_in a = any(), b = any(), got;
    socklen_t len = sizeof a;
    char buf[16];
    int data = guest_is(argv, "backlog_data");
    (void)argc;
    int fresh = SYS(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)), bound = SYS(socket(AF_INET, SOCK_STREAM, 0)),
        l = SYS(socket(AF_INET, SOCK_STREAM, 0)), c[3], s[2];
    SYS(setsockopt(fresh, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int)));
    SYS(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)));
    SYS(bind(bound, (void *)&b, sizeof b));
    SYS(getsockname(bound, (void *)&b, &len));
    SYS(bind(l, (void *)&a, sizeof a));
    SYS(listen(l, 8));
    SYS(getsockname(l, (void *)&a, &len));
    for (int i = 0; i < 3; i++) {
        c[i] = SYS(socket(AF_INET, SOCK_STREAM, 0));
        SYS(connect(c[i], (void *)&a, sizeof a));
    }
    s[0] = SYS(accept(l, NULL, NULL));
    s[1] = SYS(accept(l, NULL, NULL));
    CHECK_EQ("send", 3, send(c[0], "fin", 3, 0));
    SYS(shutdown(c[0], SHUT_WR));
    SYS(shutdown(s[1], SHUT_WR));
    if (data)
        CHECK_EQ("send", 4, send(c[2], "back", 4, 0));
    guest_ready();
    if (!data)
        CHECK_EQ("send", 4, send(c[2], "back", 4, 0));
    int on = 0;
    len = sizeof on;
    SYS(getsockopt(fresh, SOL_SOCKET, SO_KEEPALIVE, &on, &len));
    CHECK_EQ("SO_KEEPALIVE", 1, on);
    CHECK_EQ("non-blocking", O_NONBLOCK, fcntl(fresh, F_GETFL) & O_NONBLOCK);
    len = sizeof got;
    SYS(getsockname(bound, (void *)&got, &len));
    CHECK_EQ("bound port", b.sin_port, got.sin_port);
    SYS(listen(bound, 1));
    CHECK_EQ("recv", 3, SYS(recv(s[0], buf, sizeof buf, 0)));
    CHECK_EQ("FIN", 0, SYS(recv(s[0], buf, sizeof buf, 0)));
    CHECK_EQ("send against a half close", 2, send(s[0], "ok", 2, 0));
    CHECK_EQ("recv", 2, SYS(recv(c[0], buf, sizeof buf, 0)));
    CHECK_EQ("FIN", 0, SYS(recv(c[1], buf, sizeof buf, 0)));
    CHECK_EQ("send", 1, send(c[1], "x", 1, 0));
    CHECK_EQ("recv", 1, SYS(recv(s[1], buf, sizeof buf, 0)));
    int last = SYS(accept(l, NULL, NULL));
    CHECK_EQ("backlog", 4, SYS(recv(last, buf, sizeof buf, 0)));
    SYS(connect(fresh, (void *)&a, sizeof a) && errno != EINPROGRESS ? -1 : 0);
    close(SYS(accept(l, NULL, NULL)));
    return 0;
}
