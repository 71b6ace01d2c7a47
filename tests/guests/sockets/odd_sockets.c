// Sockets that few programs have: SO_REUSEPORT groups, fast open, deferred accept, the urgent mark, lingering close, disconnected again, batches, ping, bound to a device, v6 only, unspecified peer.
// args: reuseport reuseport_udp fastopen defer_accept atmark oob_inline linger disconnect recvmmsg ping device v6only unconnected_queue accept_later backlog_zero reset_pending error_pending nodelay_pair splice_blocked unix_connect_blocked diag_group sndtimeo mptcp mptcp_fresh
#include "inet.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/ip_icmp.h>
// One of a group that share a port.
static int member(int type, struct sockaddr_in *a)
{
    int fd = SYS(socket(AF_INET, type, 0));
    set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    take_name(fd, a);
    return fd;
}
static volatile pid_t tid;
static int in_thread[2];
static void *splicer(void *arg)
{
    tid = gettid();
    return (void *)(long)splice(in_thread[0], NULL, *(int *)arg, NULL, 100, 0);
}
static void *connector(void *arg)
{
    int fd = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
    tid = gettid();
    SYS(connect(fd, arg, sizeof(struct sockaddr_un)));
    SYS(write(fd, "late", 4));
    return (void *)(long)fd;
}
int main(int argc, char **argv)
{
    (void)argc;
    char buf[256];
    struct sockaddr_in a = lo(), from;
    socklen_t len = sizeof from;
    int l, c, s;
    if (guest_is(argv, "reuseport")) {
        int one = member(SOCK_STREAM, &a), two = member(SOCK_STREAM, &a), three = member(SOCK_STREAM, &a);
        SYS(listen(one, 50)), SYS(listen(two, 50));
        guest_ready();
        CHECK_EQ("SO_REUSEPORT", 1, opt(one, SOL_SOCKET, SO_REUSEPORT));
        SYS(listen(three, 50));
        struct pollfd p[3] = {{one, POLLIN, 0}, {two, POLLIN, 0}, {three, POLLIN, 0}};
        for (int i = 0; i < 30; i++)
            client_of(&a);
        int got = 0;
        for (int i = 0; i < 3; i++)
            SYS(fcntl(p[i].fd, F_SETFL, O_NONBLOCK));
        while (poll(p, 3, 0) > 0)
            for (int i = 0; i < 3; i++)
                while (accept(p[i].fd, NULL, NULL) >= 0)
                    got++;
        CHECK_EQ("accepted", 30, got);
        member(SOCK_STREAM, &a);
    } else if (guest_is(argv, "reuseport_udp")) {
        int fd[3];
        for (int i = 0; i < 3; i++)
            fd[i] = member(SOCK_DGRAM, &a);
        c = SYS(socket(AF_INET, SOCK_DGRAM, 0));
        for (int i = 0; i < 40; i++) {
            int k = SYS(socket(AF_INET, SOCK_DGRAM, 0));
            SYS(sendto(k, &i, sizeof i, 0, (void *)&a, sizeof a));
            close(k);
        }
        guest_ready();
        int sum = 0, n = 0, v;
        for (int i = 0; i < 3; i++)
            while (recv(fd[i], &v, sizeof v, MSG_DONTWAIT) == sizeof v)
                sum += v, n++;
        CHECK_EQ("datagrams", 40, n);
        CHECK_EQ("sum", 780, sum);
        SYS(sendto(c, &n, sizeof n, 0, (void *)&a, sizeof a));
    } else if (guest_is(argv, "fastopen")) {
        l = bound(SOCK_STREAM, &a);
        set(l, IPPROTO_TCP, TCP_FASTOPEN, 16);
        SYS(listen(l, 5));
        c = SYS(socket(AF_INET, SOCK_STREAM, 0));
        set(c, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
        guest_ready();
        CHECK_EQ("TCP_FASTOPEN", 16, opt(l, IPPROTO_TCP, TCP_FASTOPEN));
        CHECK_EQ("TCP_FASTOPEN_CONNECT", 1, opt(c, IPPROTO_TCP, TCP_FASTOPEN_CONNECT));
        SYS(connect(c, (void *)&a, sizeof a));
        SYS(write(c, "x", 1));
        s = SYS(accept(l, NULL, NULL));
        CHECK_EQ("read", 1, SYS(read(s, buf, 9)));
    } else if (guest_is(argv, "defer_accept")) {
        // The client has said nothing: the listener shows it to nobody.
        l = bound(SOCK_STREAM, &a);
        set(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 30);
        SYS(listen(l, 5));
        c = client_of(&a);
        guest_ready();
        CHECK(opt(l, IPPROTO_TCP, TCP_DEFER_ACCEPT) >= 30);
        SYS(write(c, "now", 3));
        s = SYS(accept(l, NULL, NULL));
        CHECK_EQ("read", 3, SYS(read(s, buf, 9)));
    } else if (guest_is(argv, "atmark") || guest_is(argv, "oob_inline")) {
        int in_line = guest_is(argv, "oob_inline");
        connected(&l, &c, &s);
        if (in_line)
            set(s, SOL_SOCKET, SO_OOBINLINE, 1);
        SYS(fcntl(s, F_SETOWN, getpid()));
        signal(SIGURG, SIG_IGN);
        SYS(send(c, "ab", 2, 0)), SYS(send(c, "!", 1, MSG_OOB)), SYS(send(c, "cd", 2, 0));
        struct pollfd p = {s, POLLPRI, 0};
        CHECK_EQ("urgent", 1, poll(&p, 1, 5000));
        guest_ready();
        CHECK_EQ("urgent", 1, poll(&p, 1, 5000));
        CHECK_EQ("before the mark", 0, sockatmark(s));
        CHECK_EQ("read ends at the mark", 2, SYS(read(s, buf, 9)));
        CHECK_EQ("at the mark", 1, sockatmark(s));
        if (!in_line)
            CHECK_EQ("urgent byte", 1, SYS(recv(s, buf, 9, MSG_OOB)));
        int n = SYS(read(s, buf, 9));
        CHECK_EQ("behind the mark", in_line ? 3 : 2, n);
        CHECK_EQ("data", in_line ? '!' : 'c', buf[0]);
    } else if (guest_is(argv, "linger")) {
        connected(&l, &c, &s);
        struct linger hard = {1, 0}, got;
        SYS(setsockopt(c, SOL_SOCKET, SO_LINGER, &hard, sizeof hard));
        guest_ready();
        len = sizeof got;
        SYS(getsockopt(c, SOL_SOCKET, SO_LINGER, &got, &len));
        CHECK_EQ("on", 1, got.l_onoff);
        SYS(write(s, "unread", 6));
        close(c);
        CHECK_EQ("reset", -1, read(s, buf, 9));
        CHECK_EQ("error", ECONNRESET, (errno));
    } else if (guest_is(argv, "disconnect")) {
        // A UDP socket connected and disconnected: it keeps its port and takes from everybody.
        // (A port that the kernel chose would be given up.)
        struct sockaddr un = {.sa_family = AF_UNSPEC};
        close(bound(SOCK_DGRAM, &a));
        s = bound(SOCK_DGRAM, &a);
        struct sockaddr_in b = lo();
        c = bound(SOCK_DGRAM, &b);
        SYS(connect(s, (void *)&b, sizeof b));
        SYS(connect(s, &un, sizeof un));
        guest_ready();
        CHECK_EQ("no peer", -1, getpeername(s, (void *)&from, &len));
        name_of(s, &from);
        CHECK_EQ("port", a.sin_port, from.sin_port);
        SYS(sendto(c, "x", 1, 0, (void *)&a, sizeof a));
        CHECK_EQ("recv", 1, SYS(recv(s, buf, 9, 0)));
    } else if (guest_is(argv, "recvmmsg")) {
        s = bound(SOCK_DGRAM, &a);
        c = SYS(socket(AF_INET, SOCK_DGRAM, 0));
        SYS(connect(c, (void *)&a, sizeof a));
        pid_t kid = SYS(fork());
        if (kid == 0) {
            struct iovec v[3] = {{buf, 8}, {buf + 8, 8}, {buf + 16, 8}};
            struct mmsghdr m[3] = {{.msg_hdr = {.msg_iov = v, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = v + 1, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = v + 2, .msg_iovlen = 1}}};
            CHECK_EQ("all", 3, SYS(recvmmsg(s, m, 3, 0, NULL)));
            _exit(buf[0] != '1' || buf[8] != '2' || buf[16] != '3');
        }
        SYS(send(c, "1", 1, 0));
        guest_await_in(kid, SYS_recvmmsg);
        guest_ready();
        SYS(send(c, "2", 1, 0)), SYS(send(c, "3", 1, 0));
        guest_reap(kid, 0);
    } else if (guest_is(argv, "ping")) {
        s = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
        if (s < 0)
            SKIP("no ping sockets");
        struct icmphdr h = {.type = ICMP_ECHO, .un.echo.sequence = htons(7)};
        SYS(sendto(s, &h, sizeof h, 0, (void *)&a, sizeof a));
        name_of(s, &from);
        int id = from.sin_port;
        guest_ready();
        name_of(s, &from);
        CHECK_EQ("id", id, from.sin_port);
        h.un.echo.sequence = htons(8);
        SYS(sendto(s, &h, sizeof h, 0, (void *)&a, sizeof a));
        do
            CHECK_EQ("answer", (long)sizeof h, SYS(recv(s, &h, sizeof h, 0)));
        while (h.un.echo.sequence != htons(8));
    } else if (guest_is(argv, "device")) {
        s = SYS(socket(AF_INET, SOCK_DGRAM, 0));
        if (setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3))
            SKIP("SO_BINDTODEVICE is not allowed");
        SYS(bind(s, (void *)&a, sizeof a));
        guest_ready();
        char name[16] = {0};
        len = sizeof name;
        SYS(getsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, name, &len));
        CHECK_STR("device", "lo", name);
    } else if (guest_is(argv, "v6only")) {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
        s = socket(AF_INET6, SOCK_STREAM, 0);
        if (s < 0)
            SKIP("no IPv6");
        set(s, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        SYS(bind(s, (void *)&six, sizeof six));
        len = sizeof six;
        SYS(getsockname(s, (void *)&six, &len));
        SYS(listen(s, 5));
        // The same port, free for IPv4.
        a.sin_addr.s_addr = 0, a.sin_port = six.sin6_port;
        l = SYS(socket(AF_INET, SOCK_STREAM, 0));
        SYS(bind(l, (void *)&a, sizeof a));
        SYS(listen(l, 5));
        guest_ready();
        CHECK_EQ("IPV6_V6ONLY", 1, opt(s, IPPROTO_IPV6, IPV6_V6ONLY));
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        c = client_of(&a);
        SYS(accept(l, NULL, NULL));
    } else if (guest_is(argv, "unconnected_queue")) {
        // Datagrams of others that came before it was connected stay.
        struct sockaddr_in b = lo(), d = lo();
        s = bound(SOCK_DGRAM, &a), c = bound(SOCK_DGRAM, &b), l = bound(SOCK_DGRAM, &d);
        SYS(sendto(c, "c", 1, 0, (void *)&a, sizeof a)), SYS(sendto(l, "l", 1, 0, (void *)&a, sizeof a));
        SYS(connect(s, (void *)&b, sizeof b));
        guest_ready();
        CHECK_EQ("recv", 1, SYS(recvfrom(s, buf, 9, 0, (void *)&from, &len)));
        CHECK_EQ("from", b.sin_port, from.sin_port);
        CHECK_EQ("recv", 1, SYS(recvfrom(s, buf, 9, 0, (void *)&from, &len)));
        CHECK_EQ("from", d.sin_port, from.sin_port);
    } else if (guest_is(argv, "accept_later") || guest_is(argv, "backlog_zero")) {
        // Connected, written, shut down and closed before it is accepted.
        l = bound(SOCK_STREAM, &a);
        SYS(listen(l, guest_is(argv, "backlog_zero") ? 0 : 5));
        c = client_of(&a);
        SYS(write(c, "early", 5));
        struct sockaddr_in who;
        name_of(c, &who);
        if (!guest_is(argv, "backlog_zero"))
            SYS(shutdown(c, SHUT_WR));
        guest_ready();
        s = SYS(accept(l, (void *)&from, &len));
        CHECK_EQ("client", who.sin_port, from.sin_port);
        CHECK_EQ("read", 5, SYS(read(s, buf, 9)));
        if (!guest_is(argv, "backlog_zero"))
            CHECK_EQ("end", 0, SYS(read(s, buf, 9)));
        SYS(write(s, "back", 4));
        CHECK_EQ("read", 4, SYS(read(c, buf, 9)));
    } else if (guest_is(argv, "mptcp") || guest_is(argv, "mptcp_fresh")) {
        // A server that would take MPTCP, its clients speak TCP; and one that does not listen yet.
        l = socket(AF_INET, SOCK_STREAM, 262);
        if (l < 0)
            SKIP("no MPTCP");
        take_name(l, &a);
        set(l, SOL_SOCKET, SO_KEEPALIVE, 1);
        if (guest_is(argv, "mptcp")) {
            SYS(listen(l, 5));
            c = client_of(&a);
            s = SYS(accept(l, NULL, NULL));
            SYS(write(c, "early", 5));
        }
        guest_ready();
        if (guest_is(argv, "mptcp")) {
            CHECK_EQ("read", 5, SYS(read(s, buf, 9)));
            SYS(write(s, "back", 4));
            CHECK_EQ("read", 4, SYS(read(c, buf, 9)));
        } else
            SYS(listen(l, 5));
        CHECK_EQ("protocol", 262, opt(l, SOL_SOCKET, SO_PROTOCOL));
        CHECK_EQ("SO_KEEPALIVE", 1, opt(l, SOL_SOCKET, SO_KEEPALIVE));
        c = SYS(socket(AF_INET, SOCK_STREAM, 262));
        SYS(connect(c, (void *)&a, sizeof a));
        s = SYS(accept(l, NULL, NULL));
        SYS(write(c, "new", 3));
        CHECK_EQ("read", 3, SYS(read(s, buf, 9)));
    } else if (guest_is(argv, "reset_pending")) {
        // A reset that the program has not seen yet, behind data.
        connected(&l, &c, &s);
        struct linger hard = {1, 0};
        SYS(setsockopt(c, SOL_SOCKET, SO_LINGER, &hard, sizeof hard));
        close(c);
        struct pollfd p = {s, POLLIN, 0};
        CHECK_EQ("reset", 1, poll(&p, 1, 5000));
        guest_ready();
        CHECK_EQ("ready", 1, poll(&p, 1, 0));
        CHECK(p.revents & POLLERR);
        CHECK_EQ("read", -1, read(s, buf, 9));
        CHECK_EQ("error", ECONNRESET, errno);
        CHECK_EQ("then the end", 0, read(s, buf, 9));
    } else if (guest_is(argv, "error_pending")) {
        // A refused datagram: the error waits.
        s = SYS(socket(AF_INET, SOCK_DGRAM, 0));
        c = bound(SOCK_DGRAM, &a);
        close(c);
        SYS(connect(s, (void *)&a, sizeof a));
        SYS(send(s, "x", 1, 0));
        guest_ready();
        CHECK_EQ("SO_ERROR", ECONNREFUSED, opt(s, SOL_SOCKET, SO_ERROR));
        CHECK_EQ("once", 0, opt(s, SOL_SOCKET, SO_ERROR));
    } else if (guest_is(argv, "nodelay_pair")) {
        // Options that differ at the two ends, keepalive times, congestion control, user timeout.
        connected(&l, &c, &s);
        set(c, IPPROTO_TCP, TCP_NODELAY, 1), set(s, IPPROTO_TCP, TCP_QUICKACK, 0), set(c, SOL_SOCKET, SO_KEEPALIVE, 1);
        set(c, IPPROTO_TCP, TCP_KEEPIDLE, 77), set(c, IPPROTO_TCP, TCP_KEEPINTVL, 7), set(c, IPPROTO_TCP, TCP_KEEPCNT, 3);
        set(c, IPPROTO_TCP, TCP_USER_TIMEOUT, 12345), set(c, IPPROTO_TCP, TCP_LINGER2, 9), set(c, IPPROTO_TCP, TCP_SYNCNT, 4);
        SYS(setsockopt(c, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
        guest_ready();
        CHECK_EQ("TCP_NODELAY", 1, opt(c, IPPROTO_TCP, TCP_NODELAY)); CHECK_EQ("TCP_NODELAY", 0, opt(s, IPPROTO_TCP, TCP_NODELAY));
        CHECK_EQ("TCP_KEEPIDLE", 77, opt(c, IPPROTO_TCP, TCP_KEEPIDLE)); CHECK_EQ("TCP_KEEPINTVL", 7, opt(c, IPPROTO_TCP, TCP_KEEPINTVL));
        CHECK_EQ("TCP_KEEPCNT", 3, opt(c, IPPROTO_TCP, TCP_KEEPCNT)); CHECK_EQ("TCP_USER_TIMEOUT", 12345, opt(c, IPPROTO_TCP, TCP_USER_TIMEOUT));
        CHECK_EQ("TCP_LINGER2", 9, opt(c, IPPROTO_TCP, TCP_LINGER2)); CHECK_EQ("TCP_SYNCNT", 4, opt(c, IPPROTO_TCP, TCP_SYNCNT));
        char name[16] = {0};
        len = sizeof name;
        SYS(getsockopt(c, IPPROTO_TCP, TCP_CONGESTION, name, &len));
        CHECK_STR("TCP_CONGESTION", "reno", name);
    } else if (guest_is(argv, "splice_blocked")) {
        int p[2];
        SYS(pipe(p));
        SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, in_thread));
        pthread_t t = guest_thread(splicer, &p[1]);
        AWAIT(tid);
        guest_await_in(tid, SYS_splice);
        guest_ready();
        SYS(write(in_thread[1], "spliced", 7));
        CHECK_EQ("splice", 7, (long)guest_join(t));
        CHECK_EQ("read", 7, SYS(read(p[0], buf, 99)));
    } else if (guest_is(argv, "unix_connect_blocked")) {
        // The backlog is full; the one that waits for room gets in.
        struct sockaddr_un u = {.sun_family = AF_UNIX};
        guest_path(u.sun_path, "s");
        l = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
        SYS(bind(l, (void *)&u, sizeof u)), SYS(listen(l, 0));
        c = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
        SYS(connect(c, (void *)&u, sizeof u));
        pthread_t t = guest_thread(connector, &u);
        AWAIT(tid);
        guest_await_in(tid, SYS_connect);
        guest_ready();
        SYS(accept(l, NULL, NULL));
        guest_join(t);
        s = SYS(accept(l, NULL, NULL));
        CHECK_EQ("read", 4, SYS(read(s, buf, 9)));
    } else if (guest_is(argv, "diag_group")) {
        // A netlink group by number, beyond what bind can name; options.
        struct sockaddr_nl nl = {.nl_family = AF_NETLINK};
        s = SYS(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE));
        SYS(bind(s, (void *)&nl, sizeof nl));
        set(s, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, RTNLGRP_NSID), set(s, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, 34);
        set(s, SOL_NETLINK, NETLINK_EXT_ACK, 1), set(s, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1);
        uint32_t before[4] = {0}, after[4] = {0};
        len = sizeof before;
        SYS(getsockopt(s, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, before, &len));
        guest_ready();
        len = sizeof after;
        SYS(getsockopt(s, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, after, &len));
        CHECK(before[1] & 2);
        CHECK_EQ("groups", before[0], after[0]); CHECK_EQ("groups", before[1], after[1]);
        CHECK_EQ("NETLINK_EXT_ACK", 1, opt(s, SOL_NETLINK, NETLINK_EXT_ACK)); CHECK_EQ("NETLINK_NO_ENOBUFS", 1, opt(s, SOL_NETLINK, NETLINK_NO_ENOBUFS));
    } else {
        // A timed send that is blocked ends when its time is over, and says what went.
        struct timeval t = {1, 0};
        int p[2];
        SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
        SYS(setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t)), SYS(setsockopt(p[1], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
        guest_ready();
        struct timeval now;
        len = sizeof now;
        SYS(getsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &now, &len));
        CHECK_EQ("SO_SNDTIMEO", 1, now.tv_sec);
        CHECK_EQ("recv", -1, recv(p[1], buf, 9, 0));
        CHECK_EQ("error", EAGAIN, errno);
    }
    return 0;
}
