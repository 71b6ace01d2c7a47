// UNIX streams: full both ways, shut down either way with data, out-of-band byte, a moved peek, peer gone with data, credentials.
// args: full shut_wr shut_rd oob oob_inline oob_passed peek gone creds seq_gone seq_empty reset tcsendbuf
#include "../guest.h"
static int fill(int fd, unsigned seed)
{
    static unsigned char all[8 << 20];
    int total = 0, n;
    guest_fill(all, sizeof all, seed);
    while ((n = send(fd, all + total, 30011, MSG_DONTWAIT)) > 0)
        total += n;
    CHECK_EQ("full", EAGAIN, errno);
    return total;
}
static void drain(int fd, int total, unsigned seed)
{
    unsigned char *all = malloc(total);
    for (int at = 0; at < total;) {
        int n = SYS(recv(fd, all + at, total - at, 0));
        CHECK(n > 0);
        at += n;
    }
    guest_verify("stream", all, total, seed);
    CHECK_EQ("nothing more", -1, recv(fd, all, 1, MSG_DONTWAIT));
    free(all);
}
int main(int argc, char **argv)
{
    (void)argc;
    int s[2], type = guest_is(argv, "seq_gone") || guest_is(argv, "seq_empty") ? SOCK_SEQPACKET : SOCK_STREAM;
    char buf[64] = {0};
    signal(SIGPIPE, SIG_IGN);
    SYS(socketpair(AF_UNIX, type, 0, s));
    if (guest_is(argv, "full")) {
        int a = fill(s[0], 1), b = fill(s[1], 2);
        guest_ready();
        CHECK_EQ("still full", -1, send(s[0], "x", 1, MSG_DONTWAIT));
        drain(s[1], a, 1);
        drain(s[0], b, 2);
        CHECK_EQ("goes on", 1, send(s[0], "x", 1, 0));
    } else if (guest_is(argv, "tcsendbuf")) {
        SYS(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &(int){20000}, sizeof(int)));
        int a = fill(s[0], 3);
        guest_ready();
        int size;
        socklen_t len = sizeof size;
        SYS(getsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, &len));
        CHECK_EQ("SO_SNDBUF", 40000, size);
        drain(s[1], a, 3);
        drain(s[1], fill(s[0], 4), 4);
    } else if (guest_is(argv, "shut_wr")) {
        SYS(send(s[0], "tail", 4, 0)), SYS(send(s[1], "back", 4, 0));
        SYS(shutdown(s[0], SHUT_WR));
        guest_ready();
        CHECK_EQ("recv", 4, recv(s[1], buf, 64, 0));
        CHECK_EQ("end", 0, recv(s[1], buf, 64, 0));
        CHECK_EQ("send", -1, send(s[0], "x", 1, 0));
        CHECK_EQ("recv", 4, recv(s[0], buf, 64, 0));
        CHECK_EQ("other way", 1, send(s[1], "x", 1, 0));
        CHECK_EQ("recv", 1, recv(s[0], buf, 64, 0));
    } else if (guest_is(argv, "shut_rd")) {
        SYS(send(s[1], "left", 4, 0));
        SYS(shutdown(s[0], SHUT_RD));
        guest_ready();
        CHECK_EQ("recv", 4, recv(s[0], buf, 64, 0));
        CHECK_EQ("end", 0, recv(s[0], buf, 64, 0));
        CHECK_EQ("peer cannot send", -1, send(s[1], "x", 1, 0));
        CHECK_EQ("still writes", 1, send(s[0], "x", 1, 0));
        CHECK_EQ("recv", 1, recv(s[1], buf, 64, 0));
    } else if (guest_is(argv, "oob")) {
        SYS(send(s[0], "ab", 2, 0));
        if (send(s[0], "!", 1, MSG_OOB) < 0)
            SKIP("no MSG_OOB on UNIX sockets");
        guest_ready();
        CHECK_EQ("urgent", 1, SYS(recv(s[1], buf, 1, MSG_OOB)));
        CHECK_EQ("byte", '!', buf[0]);
        CHECK_EQ("plain", 2, SYS(recv(s[1], buf, 64, 0)));
    } else if (guest_is(argv, "oob_inline")) {
        SYS(setsockopt(s[1], SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int)));
        SYS(send(s[0], "ab", 2, 0));
        if (send(s[0], "!", 1, MSG_OOB) < 0)
            SKIP("no MSG_OOB on UNIX sockets");
        SYS(send(s[0], "cd", 2, 0));
        guest_ready();
        CHECK_EQ("before the mark", 0, sockatmark(s[1]));
        CHECK_EQ("up to the mark", 2, SYS(recv(s[1], buf, 64, 0)));
        CHECK_EQ("at the mark", 1, sockatmark(s[1]));
        CHECK_EQ("behind it", 3, SYS(recv(s[1], buf, 64, 0)));
        CHECK(memcmp(buf, "!cd", 3) == 0);
    } else if (guest_is(argv, "oob_passed")) {
        // A read that passes over an urgent byte leaves it counted (FIONREAD); the next one comes alone.
        SYS(send(s[0], "a", 1, 0));
        if (send(s[0], "!", 1, MSG_OOB) < 0)
            SKIP("no MSG_OOB on UNIX sockets");
        CHECK_EQ("a", 1, SYS(recv(s[1], buf, 64, 0)));
        SYS(send(s[0], "b", 1, 0));
        CHECK_EQ("b", 1, SYS(recv(s[1], buf, 64, 0)));
        SYS(send(s[0], "?", 1, MSG_OOB));
        guest_ready();
        CHECK_EQ("urgent", 1, SYS(recv(s[1], buf, 1, MSG_OOB)));
        CHECK_EQ("byte", '?', buf[0]);
        SYS(send(s[0], "c", 1, 0));
        CHECK_EQ("c", 1, SYS(recv(s[1], buf, 64, 0)));
        CHECK_EQ("byte", 'c', buf[0]);
    } else if (guest_is(argv, "peek")) {
        SYS(setsockopt(s[1], SOL_SOCKET, SO_PEEK_OFF, &(int){3}, sizeof(int)));
        SYS(send(s[0], "abcdef", 6, 0));
        guest_ready();
        CHECK_EQ("peek", 2, recv(s[1], buf, 2, MSG_PEEK));
        CHECK(memcmp(buf, "de", 2) == 0);
        CHECK_EQ("peek", 1, recv(s[1], buf, 2, MSG_PEEK));
        CHECK_EQ("recv", 6, recv(s[1], buf, 64, 0));
    } else if (guest_is(argv, "gone")) {
        SYS(send(s[0], "last words", 10, 0));
        close(s[0]);
        guest_ready();
        CHECK_EQ("recv", 10, recv(s[1], buf, 64, 0));
        CHECK_EQ("end", 0, recv(s[1], buf, 64, 0));
        CHECK_EQ("send", -1, send(s[1], "x", 1, 0));
        CHECK_EQ("error", EPIPE, (send(s[1], "x", 1, 0), errno));
    } else if (guest_is(argv, "reset")) {
        // Closed with unread data: the other end sees a reset, once.
        SYS(send(s[1], "unread", 6, 0));
        close(s[0]);
        guest_ready();
        CHECK_EQ("recv", -1, recv(s[1], buf, 64, 0));
        CHECK_EQ("end", 0, recv(s[1], buf, 64, 0));
    } else if (guest_is(argv, "creds")) {
        SYS(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
        SYS(send(s[0], "mine", 4, 0));
        pid_t kid = SYS(fork());
        if (kid == 0) {
            SYS(send(s[0], "kid's", 5, 0));
            guest_note("sent");
            guest_await_go();
            _exit(0);
        }
        guest_await("sent");
        guest_ready();
        pid_t who[2] = {getpid(), kid};
        int len[2] = {4, 5};
        for (int i = 0; i < 2; i++) {
            char control[256];
            struct iovec iov = {buf, 64};
            struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
            CHECK_EQ("one sender at a time", len[i], SYS(recvmsg(s[1], &m, 0)));
            struct cmsghdr *h = CMSG_FIRSTHDR(&m);
            CHECK(h && h->cmsg_type == SCM_CREDENTIALS);
            CHECK_EQ("pid", who[i], ((struct ucred *)CMSG_DATA(h))->pid);
        }
        guest_reap(kid, 0);
    } else if (guest_is(argv, "seq_empty")) {
        SYS(send(s[0], "one", 3, 0)), SYS(send(s[0], "", 0, 0)), SYS(send(s[0], "three", 5, 0));
        guest_ready();
        CHECK_EQ("one", 3, recv(s[1], buf, 64, 0));
        CHECK_EQ("empty", 0, recv(s[1], buf, 64, 0));
        CHECK_EQ("three", 5, recv(s[1], buf, 64, 0));
        CHECK_EQ("nothing", -1, recv(s[1], buf, 64, MSG_DONTWAIT));
    } else {
        SYS(send(s[0], "one", 3, 0)), SYS(send(s[0], "two", 3, 0));
        close(s[0]);
        guest_ready();
        CHECK_EQ("one", 3, recv(s[1], buf, 64, 0));
        CHECK_EQ("two", 3, recv(s[1], buf, 64, 0));
        CHECK_EQ("end", 0, recv(s[1], buf, 64, 0));
        CHECK_EQ("end", 0, recv(s[1], buf, 64, 0));
    }
    return 0;
}
