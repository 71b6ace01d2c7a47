// More odd sockets: source-specific multicast, a moved peek on UDP, a listener in flight with callers waiting, half of a datagram pair shut, sender's pidfd, a lowered low-water mark, a blocked receive with a deadline, zero-copy sends, callers that left before they were accepted.
// args: ssm udp_peek_off listener_in_flight dgram_shut passpidfd lowat timeout zerocopy tcp_gone seqpacket_oversize accepted_inherits
#include "inet.h"
#include <linux/errqueue.h>
static volatile pid_t tid;
static void *waiter(void *arg)
{
    char b;
    tid = gettid();
    long n = recv(*(int *)arg, &b, 1, 0);
    return (void *)(n < 0 ? -(long)errno : n);
}
int main(int argc, char **argv)
{
    (void)argc;
    struct sockaddr_in a = lo();
    char buf[256];
    int p[2], c, s, l, on = 1;
    if (guest_is(argv, "ssm")) {
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = 0};
        s = bound(SOCK_DGRAM, &any);
        struct ip_mreq_source m = {.imr_multiaddr.s_addr = inet_addr("232.1.2.3"), .imr_interface.s_addr = htonl(INADDR_LOOPBACK), .imr_sourceaddr.s_addr = htonl(INADDR_LOOPBACK)};
        if (setsockopt(s, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &m, sizeof m))
            SKIP("no multicast on the loopback interface: %s", strerror(errno));
        guest_ready();
        CHECK_EQ("joined once", -1, setsockopt(s, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &m, sizeof m));
        SYS(setsockopt(s, IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, &m, sizeof m));
    } else if (guest_is(argv, "udp_peek_off")) {
        s = bound(SOCK_DGRAM, &a);
        c = SYS(socket(AF_INET, SOCK_DGRAM, 0));
        set(s, SOL_SOCKET, SO_PEEK_OFF, 0);
        SYS(sendto(c, "abcdef", 6, 0, (void *)&a, sizeof a));
        CHECK_EQ("peek", 2, SYS(recv(s, buf, 2, MSG_PEEK)));
        guest_ready();
        CHECK_EQ("offset", 2, opt(s, SOL_SOCKET, SO_PEEK_OFF));
        CHECK_EQ("peek", 2, SYS(recv(s, buf, 2, MSG_PEEK)));
        CHECK(memcmp(buf, "cd", 2) == 0);
        CHECK_EQ("whole", 6, SYS(recv(s, buf, sizeof buf, 0)));
    } else if (guest_is(argv, "listener_in_flight")) {
        struct sockaddr_un u = {.sun_family = AF_UNIX};
        socklen_t ulen = offsetof(struct sockaddr_un, sun_path) + 1 + sprintf(u.sun_path + 1, "ckpt-guest-%d", guest_unique());
        l = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
        SYS(bind(l, (void *)&u, ulen));
        SYS(listen(l, 3));
        c = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
        SYS(connect(c, (void *)&u, ulen));
        SYS(send(c, "early", 5, 0));
        SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
        char control[CMSG_SPACE(sizeof l)] = {0};
        struct iovec io = {"x", 1};
        struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(sizeof l);
        memcpy(CMSG_DATA(h), &l, sizeof l);
        SYS(sendmsg(p[0], &m, 0));
        close(l);
        guest_ready();
        io.iov_base = buf;
        m.msg_controllen = sizeof control;
        SYS(recvmsg(p[1], &m, 0));
        memcpy(&l, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof l);
        s = SYS(accept(l, NULL, NULL));
        CHECK_EQ("early", 5, SYS(recv(s, buf, sizeof buf, 0)));
        SYS(send(s, "back", 4, 0));
        CHECK_EQ("back", 4, SYS(recv(c, buf, sizeof buf, 0)));
    } else if (guest_is(argv, "dgram_shut")) {
        SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
        SYS(send(p[0], "one", 3, 0));
        SYS(send(p[1], "two", 3, 0));
        SYS(shutdown(p[1], SHUT_WR));
        guest_ready();
        CHECK_EQ("one", 3, SYS(recv(p[1], buf, sizeof buf, 0)));
        CHECK_EQ("two", 3, SYS(recv(p[0], buf, sizeof buf, 0)));
        CHECK_EQ("shut", -1, send(p[1], "x", 1, MSG_NOSIGNAL));
        CHECK_EQ("error", EPIPE, errno);
    } else if (guest_is(argv, "passpidfd")) {
        SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
        if (setsockopt(p[1], SOL_SOCKET, 76, &on, sizeof on))
            SKIP("no SO_PASSPIDFD");
        SYS(send(p[0], "one", 3, 0));
        guest_ready();
        CHECK_EQ("SO_PASSPIDFD", 1, opt(p[1], SOL_SOCKET, 76));
        char control[64] = {0};
        struct iovec io = {buf, sizeof buf};
        struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        CHECK_EQ("one", 3, SYS(recvmsg(p[1], &m, 0)));
        CHECK_EQ("SCM_PIDFD", 4, CMSG_FIRSTHDR(&m)->cmsg_type);
    } else if (guest_is(argv, "lowat")) {
        connected(&l, &c, &s), close(l);
        set(s, SOL_SOCKET, SO_RCVLOWAT, 10);
        SYS(send(c, "five.", 5, 0));
        struct pollfd f = {s, POLLIN, 0};
        guest_ready();
        CHECK_EQ("SO_RCVLOWAT", 10, opt(s, SOL_SOCKET, SO_RCVLOWAT));
        CHECK_EQ("not enough", 0, poll(&f, 1, 0));
        SYS(send(c, "five.", 5, 0));
        CHECK_EQ("enough", 1, poll(&f, 1, 5000));
        CHECK_EQ("all", 10, SYS(recv(s, buf, sizeof buf, 0)));
    } else if (guest_is(argv, "timeout")) {
        connected(&l, &c, &s), close(l);
        struct timeval t = {600, 0}, got = {0};
        socklen_t len = sizeof got;
        SYS(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
        pthread_t w = guest_thread(waiter, &s);
        AWAIT(tid);
        guest_await_in(tid, SYS_recvfrom);
        guest_ready();
        SYS(getsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &got, &len));
        CHECK_EQ("deadline", 600, got.tv_sec);
        SYS(send(c, "x", 1, 0));
        CHECK_EQ("received", 1, (long)guest_join(w));
    } else if (guest_is(argv, "zerocopy")) {
        // Its completion was read before; the next one counts on.
        connected(&l, &c, &s), close(l);
        if (setsockopt(c, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on))
            SKIP("no SO_ZEROCOPY");
        guest_ready();
        CHECK_EQ("SO_ZEROCOPY", 1, opt(c, SOL_SOCKET, SO_ZEROCOPY));
        static char page[4096] __attribute__((aligned(4096)));
        CHECK_EQ("sent", 4096, SYS(send(c, page, sizeof page, MSG_ZEROCOPY)));
        CHECK_EQ("received", 4096, SYS(recv(s, page, sizeof page, MSG_WAITALL)));
        struct pollfd f = {c, 0, 0};
        CHECK_EQ("completed", 1, poll(&f, 1, 5000));
    } else if (guest_is(argv, "tcp_gone")) {
        // Connected, sent and closed before it was accepted; another one that is there.
        l = listening(&a);
        c = client_of(&a);
        SYS(send(c, "last words", 10, 0));
        close(c);
        c = client_of(&a);
        SYS(send(c, "here", 4, 0));
        guest_ready();
        s = SYS(accept(l, NULL, NULL));
        CHECK_EQ("last words", 10, SYS(recv(s, buf, sizeof buf, 0)));
        CHECK_EQ("the end", 0, SYS(recv(s, buf, sizeof buf, 0)));
        s = SYS(accept(l, NULL, NULL));
        CHECK_EQ("here", 4, SYS(recv(s, buf, sizeof buf, 0)));
        SYS(send(s, "yes", 3, 0));
        CHECK_EQ("answer", 3, SYS(recv(c, buf, sizeof buf, 0)));
    } else if (guest_is(argv, "seqpacket_oversize")) {
        static char big[150000], got[150000];
        guest_fill(big, sizeof big, 3);
        SYS(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p));
        CHECK_EQ("sent", (long)sizeof big, SYS(send(p[0], big, sizeof big, 0)));
        SYS(send(p[0], "x", 1, 0));
        guest_ready();
        CHECK_EQ("part", 1000, SYS(recv(p[1], got, 1000, MSG_PEEK)));
        CHECK_EQ("whole", (long)sizeof big, SYS(recv(p[1], got, sizeof got, 0)));
        guest_verify("packet", got, sizeof got, 3);
        CHECK_EQ("next", 1, SYS(recv(p[1], got, sizeof got, 0)));
    } else {
        // Options of the listener are those of what it accepts later.
        l = bound(SOCK_STREAM, &a);
        set(l, SOL_SOCKET, SO_KEEPALIVE, 1);
        set(l, IPPROTO_TCP, TCP_NODELAY, 1);
        set(l, IPPROTO_TCP, TCP_KEEPIDLE, 77);
        SYS(listen(l, 5));
        c = client_of(&a);
        SYS(send(c, "x", 1, 0));
        guest_ready();
        s = SYS(accept(l, NULL, NULL));
        CHECK_EQ("SO_KEEPALIVE", 1, opt(s, SOL_SOCKET, SO_KEEPALIVE));
        CHECK_EQ("TCP_NODELAY", 1, opt(s, IPPROTO_TCP, TCP_NODELAY));
        CHECK_EQ("TCP_KEEPIDLE", 77, opt(s, IPPROTO_TCP, TCP_KEEPIDLE));
        CHECK_EQ("byte", 1, SYS(recv(s, buf, 1, 0)));
    }
    return 0;
}
