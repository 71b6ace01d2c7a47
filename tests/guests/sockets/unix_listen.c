// A listening UNIX socket, bound by path or abstract, with connections (and their data) in its backlog, one accepted.
// One that was shut down stays so.
// args: path abstract seqpacket data shut
#include "../guest.h"
int main(int argc, char **argv)
{
    (void)argc;
    struct sockaddr_un a = {.sun_family = AF_UNIX}, got;
    socklen_t alen = sizeof a, len;
    int type = guest_is(argv, "seqpacket") ? SOCK_SEQPACKET : SOCK_STREAM, on, data = guest_is(argv, "data");
    char buf[16];
    if (guest_is(argv, "abstract"))
        alen = offsetof(struct sockaddr_un, sun_path) + 1 + sprintf(a.sun_path + 1, "ckpt-guest-%d", guest_unique());
    else
        guest_path(a.sun_path, "sock");
    int l = SYS(socket(AF_UNIX, type, 0)), c[3];
    SYS(bind(l, (void *)&a, alen));
    SYS(listen(l, 7));
    for (int i = 0; i < 3; i++) {
        c[i] = SYS(socket(AF_UNIX, type, 0));
        SYS(connect(c[i], (void *)&a, alen));
        if (i == 0 || data)
            CHECK_EQ("send", 2, send(c[i], "h0", 2, 0));
    }
    if (guest_is(argv, "shut")) {
        int s = SYS(accept(l, NULL, NULL)), n = SYS(socket(AF_UNIX, type, 0));
        close(SYS(accept(l, NULL, NULL))), close(SYS(accept(l, NULL, NULL)));
        SYS(shutdown(l, SHUT_RD));
        guest_ready();
        CHECK_EQ("accept", -1, accept(l, NULL, NULL));
        CHECK_EQ("errno", EINVAL, (accept(l, NULL, NULL), errno));
        CHECK_EQ("connect", -1, connect(n, (void *)&a, alen));
        CHECK_EQ("errno", ECONNREFUSED, (connect(n, (void *)&a, alen), errno));
        CHECK_EQ("the accepted one", 2, SYS(recv(s, buf, 2, 0)));
        return 0;
    }
    int first = SYS(accept(l, NULL, NULL));
    guest_ready();
    len = sizeof on;
    SYS(getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &on, &len));
    CHECK_EQ("listening", 1, on);
    CHECK_EQ("recv", 2, recv(first, buf, 2, 0));
    for (int i = 1; i < 3; i++) {
        int s = SYS(accept(l, NULL, NULL));
        if (!data)
            CHECK_EQ("send", 2, send(c[i], "h0", 2, 0));
        CHECK_EQ("recv", 2, SYS(recv(s, buf, 2, 0)));
        CHECK_EQ("send", 1, send(s, "x", 1, 0));
        CHECK_EQ("recv", 1, SYS(recv(c[i], buf, 1, 0)));
    }
    len = sizeof got;
    memset(&got, 0, sizeof got);
    SYS(getsockname(l, (void *)&got, &len));
    CHECK(memcmp(&a, &got, sizeof a) == 0);
    len = sizeof got;
    SYS(getpeername(c[0], (void *)&got, &len));
    CHECK(memcmp(&a, &got, alen < len ? alen : len) == 0);
    int n = SYS(socket(AF_UNIX, type, 0));
    SYS(connect(n, (void *)&a, alen));
    close(SYS(accept(l, NULL, NULL)));
    return 0;
}
