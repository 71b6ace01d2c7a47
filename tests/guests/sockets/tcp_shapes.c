// TCP in odd shapes: to itself, urgent byte, corked, closed with data, reset, both shut, refused, connecting, orphan, v4 in v6, signed.
// args: itself urgent urgent_corked corked closed reset both_shut refused connecting no_listener mapped reuseport fin_queued time_wait signed
#include "../guest.h"
static int reuse;
static int pair(int s[2], int family)
{
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *a = family == AF_INET ? (void *)&a4 : (void *)&a6;
    socklen_t len = family == AF_INET ? sizeof a4 : sizeof a6;
    int l = SYS(socket(family, SOCK_STREAM, 0));
    SYS(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse));
    SYS(bind(l, a, len));
    SYS(listen(l, 4));
    SYS(getsockname(l, a, &len));
    s[0] = SYS(socket(family, SOCK_STREAM, 0));
    SYS(connect(s[0], a, len));
    s[1] = SYS(accept(l, NULL, NULL));
    return l;
}
static int port_of(int fd)
{
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    SYS(getsockname(fd, (void *)&a, &len));
    return ntohs(a.sin_port);
}
// Refused: the key cannot be read back. Only root is told of it.
static void signing(void)
{
    struct tcp_md5sig key = {.tcpm_keylen = 6, .tcpm_key = "secret"};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memcpy(&key.tcpm_addr, &a, sizeof a);
    int l = SYS(socket(AF_INET, SOCK_STREAM, 0));
    if (geteuid() || setsockopt(l, IPPROTO_TCP, TCP_MD5SIG, &key, sizeof key))
        SKIP("not for this user, or not in this kernel");
    SYS(bind(l, (void *)&a, sizeof a)), SYS(listen(l, 1));
    guest_refused("TCP_MD5SIG");
    guest_ready();
}
int main(int argc, char **argv)
{
    (void)argc;
    if (guest_is(argv, "signed")) {
        signing();
        return 0;
    }
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    // What is in TIME_WAIT would keep the port from an ordinary user for a minute.
    reuse = guest_is(argv, "time_wait");
    int s[2], l = pair(s, AF_INET), err;
    char buf[64] = {0};
    signal(SIGPIPE, SIG_IGN);
    if (guest_is(argv, "itself")) {
        int f = SYS(socket(AF_INET, SOCK_STREAM, 0));
        SYS(bind(f, (void *)&a, sizeof a));
        SYS(getsockname(f, (void *)&a, &len));
        SYS(connect(f, (void *)&a, sizeof a));
        SYS(send(f, "loop", 4, 0));
        guest_ready();
        CHECK_EQ("recv", 4, SYS(recv(f, buf, 64, 0)));
        CHECK_EQ("port", ntohs(a.sin_port), port_of(f));
    } else if (guest_is(argv, "urgent")) {
        SYS(send(s[0], "ab", 2, 0));
        SYS(send(s[0], "!", 1, MSG_OOB));
        AWAIT(recv(s[1], buf, 8, MSG_PEEK) >= 2);
        struct pollfd p = {s[1], POLLPRI, 0};
        CHECK_EQ("urgent data came", 1, poll(&p, 1, 1000));
        guest_ready();
        CHECK_EQ("urgent", 1, SYS(recv(s[1], buf, 1, MSG_OOB)));
        CHECK_EQ("byte", '!', buf[0]);
        CHECK_EQ("plain", 2, SYS(recv(s[1], buf, 2, MSG_WAITALL)));
        CHECK(memcmp(buf, "ab", 2) == 0);
    } else if (guest_is(argv, "urgent_corked")) {
        // What the sender holds back cannot be peeked at; the mark before it must not get lost for that.
        SYS(send(s[0], "ab", 2, 0));
        SYS(send(s[0], "!", 1, MSG_OOB));
        SYS(send(s[0], "cd", 2, 0));
        struct pollfd p = {s[1], POLLPRI, 0};
        CHECK_EQ("urgent data came", 1, poll(&p, 1, 1000));
        SYS(setsockopt(s[0], IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int)));
        SYS(send(s[0], "held", 4, 0));
        guest_ready();
        CHECK_EQ("up to the mark", 2, SYS(recv(s[1], buf, sizeof buf, 0)));
        CHECK_EQ("urgent", 1, SYS(recv(s[1], buf, 1, MSG_OOB)));
        CHECK_EQ("byte", '!', buf[0]);
        SYS(setsockopt(s[0], IPPROTO_TCP, TCP_CORK, &(int){0}, sizeof(int)));
        CHECK_EQ("behind it", 6, SYS(recv(s[1], buf, 6, MSG_WAITALL)));
        CHECK(memcmp(buf, "cdheld", 6) == 0);
    } else if (guest_is(argv, "corked")) {
        SYS(setsockopt(s[0], IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int)));
        SYS(send(s[0], "held", 4, 0));
        guest_ready();
        socklen_t n = sizeof err;
        SYS(getsockopt(s[0], IPPROTO_TCP, TCP_CORK, &err, &n));
        CHECK_EQ("TCP_CORK", 1, err);
        SYS(send(s[0], "more", 4, 0));
        SYS(setsockopt(s[0], IPPROTO_TCP, TCP_CORK, &(int){0}, sizeof(int)));
        CHECK_EQ("recv", 8, SYS(recv(s[1], buf, 8, MSG_WAITALL)));
        CHECK(memcmp(buf, "heldmore", 8) == 0);
    } else if (guest_is(argv, "closed")) {
        SYS(send(s[0], "bye", 3, 0));
        close(s[0]);
        guest_ready();
        CHECK_EQ("recv", 3, SYS(recv(s[1], buf, 64, 0)));
        CHECK_EQ("end", 0, SYS(recv(s[1], buf, 64, 0)));
        SYS(send(s[1], "x", 1, 0));
    } else if (guest_is(argv, "reset")) {
        struct linger now = {1, 0};
        SYS(setsockopt(s[0], SOL_SOCKET, SO_LINGER, &now, sizeof now));
        close(s[0]);
        struct pollfd p = {s[1], POLLIN, 0};
        CHECK_EQ("poll", 1, poll(&p, 1, 1000));
        guest_ready();
        CHECK_EQ("recv", -1, recv(s[1], buf, 64, 0));
        CHECK_EQ("error", ECONNRESET, errno);
        CHECK_EQ("end", 0, recv(s[1], buf, 64, 0));
    } else if (guest_is(argv, "both_shut")) {
        SYS(send(s[0], "one", 3, 0)), SYS(send(s[1], "two", 3, 0));
        SYS(shutdown(s[0], SHUT_WR)), SYS(shutdown(s[1], SHUT_WR));
        guest_ready();
        CHECK_EQ("recv", 3, SYS(recv(s[0], buf, 64, 0)));
        CHECK_EQ("end", 0, SYS(recv(s[0], buf, 64, 0)));
        CHECK_EQ("recv", 3, SYS(recv(s[1], buf, 64, 0)));
        CHECK_EQ("end", 0, SYS(recv(s[1], buf, 64, 0)));
        CHECK_EQ("send", -1, send(s[0], "x", 1, 0));
        CHECK_EQ("error", EPIPE, errno);
    } else if (guest_is(argv, "refused")) {
        int port = port_of(l), f = SYS(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        close(l);
        a.sin_port = htons(port);
        connect(f, (void *)&a, sizeof a);
        struct pollfd p = {f, POLLOUT, 0};
        CHECK_EQ("poll", 1, poll(&p, 1, 1000));
        guest_ready();
        socklen_t n = sizeof err;
        SYS(getsockopt(f, SOL_SOCKET, SO_ERROR, &err, &n));
        CHECK_EQ("SO_ERROR", ECONNREFUSED, err);
    } else if (guest_is(argv, "connecting")) {
        // A blackhole: the backlog of a listener that is full.
        int full = SYS(socket(AF_INET, SOCK_STREAM, 0)), c[8];
        SYS(bind(full, (void *)&a, sizeof a));
        SYS(listen(full, 0));
        SYS(getsockname(full, (void *)&a, &len));
        for (int i = 0; i < 4; i++) {
            c[i] = SYS(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
            connect(c[i], (void *)&a, sizeof a);
        }
        guest_ready();
        struct pollfd p = {c[3], POLLOUT, 0};
        CHECK_EQ("not connected yet", 0, poll(&p, 1, 0));
        // One place becomes free with each accept, and the others try for it too.
        struct pollfd either[] = {{full, POLLIN, 0}, p};
        for (int i = 0; i < 5 && !(either[1].revents & POLLOUT); i++) {
            CHECK(poll(either, 2, 15000) > 0);
            if (either[0].revents & POLLIN)
                close(SYS(accept(full, NULL, NULL)));
        }
        CHECK(either[1].revents & POLLOUT);
    } else if (guest_is(argv, "no_listener")) {
        int port = port_of(l);
        close(l);
        SYS(send(s[0], "data", 4, 0));
        guest_ready();
        CHECK_EQ("port", port, port_of(s[1]));
        CHECK_EQ("recv", 4, SYS(recv(s[1], buf, 64, 0)));
        int again = SYS(socket(AF_INET, SOCK_STREAM, 0));
        a.sin_port = htons(port);
        SYS(setsockopt(again, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)));
        CHECK_EQ("nobody listens", -1, connect(again, (void *)&a, sizeof a));
    } else if (guest_is(argv, "mapped")) {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT}, got;
        socklen_t n = sizeof six;
        int l6 = socket(AF_INET6, SOCK_STREAM, 0), c = SYS(socket(AF_INET, SOCK_STREAM, 0));
        if (l6 < 0)
            SKIP("no IPv6");
        SYS(bind(l6, (void *)&six, sizeof six));
        SYS(listen(l6, 3));
        SYS(getsockname(l6, (void *)&six, &n));
        a.sin_port = six.sin6_port;
        SYS(connect(c, (void *)&a, sizeof a));
        int srv = SYS(accept(l6, NULL, NULL));
        SYS(send(c, "46", 2, 0)), SYS(send(srv, "64", 2, 0));
        guest_ready();
        n = sizeof got;
        SYS(getsockname(srv, (void *)&got, &n));
        CHECK(IN6_IS_ADDR_V4MAPPED(&got.sin6_addr));
        CHECK_EQ("recv", 2, SYS(recv(srv, buf, 64, 0)));
        CHECK_EQ("recv", 2, SYS(recv(c, buf, 64, 0)));
    } else if (guest_is(argv, "reuseport")) {
        int two[2];
        for (int i = 0; i < 2; i++) {
            two[i] = SYS(socket(AF_INET, SOCK_STREAM, 0));
            SYS(setsockopt(two[i], SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)));
            SYS(bind(two[i], (void *)&a, sizeof a));
            SYS(getsockname(two[i], (void *)&a, &len));
            SYS(listen(two[i], 3));
        }
        guest_ready();
        CHECK_EQ("same port", port_of(two[0]), port_of(two[1]));
        int c = SYS(socket(AF_INET, SOCK_STREAM, 0));
        SYS(connect(c, (void *)&a, sizeof a));
        struct pollfd p[2] = {{two[0], POLLIN, 0}, {two[1], POLLIN, 0}};
        CHECK_EQ("one of them", 1, poll(p, 2, 1000));
    } else if (guest_is(argv, "fin_queued")) {
        // The FIN is behind more data than the receiver takes.
        static char big[1 << 20];
        int total = 0, n;
        guest_fill(big, sizeof big, 5);
        SYS(setsockopt(s[1], SOL_SOCKET, SO_RCVBUF, &(int){8192}, sizeof(int)));
        while (total < 900000 && (n = send(s[0], big + total, 4096, MSG_DONTWAIT)) > 0)
            total += n;
        SYS(shutdown(s[0], SHUT_WR));
        guest_ready();
        char *got = malloc(total);
        for (int at = 0; at < total; at += n)
            CHECK((n = SYS(recv(s[1], got + at, total - at, 0))) > 0);
        guest_verify("stream", got, total, 5);
        CHECK_EQ("end", 0, SYS(recv(s[1], buf, 64, 0)));
    } else {
        // The server closed first: its port is in TIME_WAIT when it restarts its listener.
        close(s[1]);
        CHECK_EQ("end", 0, recv(s[0], buf, 1, 0));
        close(s[0]);
        int port = port_of(l);
        guest_ready();
        CHECK_EQ("port", port, port_of(l));
        int c = SYS(socket(AF_INET, SOCK_STREAM, 0));
        a.sin_port = htons(port);
        SYS(connect(c, (void *)&a, sizeof a));
        close(SYS(accept(l, NULL, NULL)));
    }
    return 0;
}
