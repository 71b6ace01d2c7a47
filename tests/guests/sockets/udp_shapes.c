// UDP in odd shapes: corked, empty datagrams, connected with a queue, sender gone, to itself, broadcast, UDP-Lite, dual stack, multicast, shut down.
// args: corked more corked6 corked_behind empty connected gone itself lite dual dual_connected multicast multicast6 fresh recverr shut_rd shut_wr shut_both shut_unconnected
#include "inet.h"
#include <netinet/udp.h>
static int own(struct sockaddr_in *a, int proto)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, proto);
    if (fd < 0)
        SKIP("no such protocol");
    *a = lo();
    take_name(fd, a);
    return fd;
}
int main(int argc, char **argv)
{
    (void)argc;
    struct sockaddr_in a, b, from;
    socklen_t len = sizeof from;
    char buf[64];
    int proto = guest_is(argv, "lite") ? IPPROTO_UDPLITE : 0, r = own(&a, proto), s = own(&b, proto);
    if (!strncmp(argv[1], "shut_", 5)) {
        int rd = !guest_is(argv, "shut_wr"), wr = guest_is(argv, "shut_wr") || guest_is(argv, "shut_both");
        struct pollfd p = {r, POLLIN | POLLOUT | POLLRDHUP, 0};
        SYS(sendto(s, "queued", 6, 0, (void *)&a, sizeof a));
        if (guest_is(argv, "shut_unconnected")) {
            CHECK_EQ("not connected", -1, shutdown(r, SHUT_RD));
        } else {
            SYS(connect(r, (void *)&b, sizeof b));
            SYS(shutdown(r, rd && wr ? SHUT_RDWR : rd ? SHUT_RD : SHUT_WR));
        }
        guest_ready();
        SYS(poll(&p, 1, 0));
        CHECK_EQ("no more comes", rd, !!(p.revents & POLLRDHUP));
        CHECK_EQ("nor goes", rd && wr, !!(p.revents & POLLHUP));
        CHECK_EQ("queued", 6, SYS(recv(r, buf, 64, 0)));
        CHECK_EQ("nothing more", -1, recv(r, buf, 64, 0));
        CHECK_EQ("send", wr ? -1 : 1, sendto(r, "x", 1, MSG_NOSIGNAL, guest_is(argv, "shut_unconnected") ? (void *)&b : NULL, guest_is(argv, "shut_unconnected") ? sizeof b : 0));
        CHECK_EQ("arrives", wr ? -1 : 1, recv(s, buf, 64, 0));
    } else if (guest_is(argv, "more")) {
        // Held back by MSG_MORE alone.
        SYS(connect(s, (void *)&a, sizeof a));
        SYS(send(s, "one", 3, MSG_MORE)), SYS(send(s, "two", 3, MSG_MORE));
        guest_ready();
        SYS(send(s, "three", 5, 0));
        CHECK_EQ("one datagram", 11, SYS(recv(r, buf, 64, 0)));
        CHECK(!memcmp(buf, "onetwothree", 11));
        CHECK_EQ("nothing more", -1, recv(r, buf, 64, 0));
    } else if (guest_is(argv, "corked6")) {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
        socklen_t n = sizeof six;
        int d = socket(AF_INET6, SOCK_DGRAM, 0), c = socket(AF_INET6, SOCK_DGRAM, 0);
        if (d < 0 || bind(d, (void *)&six, sizeof six))
            SKIP("no IPv6");
        SYS(getsockname(d, (void *)&six, &n));
        SYS(connect(c, (void *)&six, sizeof six));
        SYS(setsockopt(c, IPPROTO_UDP, UDP_CORK, &(int){1}, sizeof(int)));
        SYS(send(c, "held", 4, 0));
        guest_ready();
        SYS(send(c, "more", 4, 0));
        SYS(setsockopt(c, IPPROTO_UDP, UDP_CORK, &(int){0}, sizeof(int)));
        CHECK_EQ("one datagram", 8, SYS(recv(d, buf, 64, MSG_DONTWAIT)));
    } else if (guest_is(argv, "corked_behind")) {
        // Behind datagrams that the receiver, connected too, has not read; both hold one back.
        SYS(connect(s, (void *)&a, sizeof a)), SYS(connect(r, (void *)&b, sizeof b));
        SYS(send(s, "first", 5, 0)), SYS(send(r, "back", 4, 0));
        SYS(setsockopt(s, IPPROTO_UDP, UDP_CORK, &(int){1}, sizeof(int)));
        SYS(setsockopt(r, IPPROTO_UDP, UDP_CORK, &(int){1}, sizeof(int)));
        SYS(send(s, "", 0, 0)), SYS(send(r, "held", 4, 0));
        guest_ready();
        int reuse;
        socklen_t n = sizeof reuse;
        SYS(getsockopt(r, SOL_SOCKET, SO_REUSEADDR, &reuse, &n));
        CHECK_EQ("SO_REUSEADDR", 0, reuse);
        SYS(setsockopt(s, IPPROTO_UDP, UDP_CORK, &(int){0}, sizeof(int)));
        SYS(setsockopt(r, IPPROTO_UDP, UDP_CORK, &(int){0}, sizeof(int)));
        CHECK_EQ("first", 5, SYS(recv(r, buf, 64, 0)));
        CHECK_EQ("empty", 0, SYS(recv(r, buf, 64, 0)));
        CHECK_EQ("back", 4, SYS(recv(s, buf, 64, 0)));
        CHECK_EQ("held", 4, SYS(recv(s, buf, 64, 0)));
        CHECK_EQ("nothing more", -1, recv(r, buf, 64, 0));
    } else if (guest_is(argv, "corked")) {
        SYS(connect(s, (void *)&a, sizeof a));
        SYS(setsockopt(s, IPPROTO_UDP, UDP_CORK, &(int){1}, sizeof(int)));
        SYS(send(s, "held", 4, 0));
        guest_ready();
        int on;
        socklen_t n = sizeof on;
        SYS(getsockopt(s, IPPROTO_UDP, UDP_CORK, &on, &n));
        CHECK_EQ("UDP_CORK", 1, on);
        SYS(send(s, "more", 4, 0));
        SYS(setsockopt(s, IPPROTO_UDP, UDP_CORK, &(int){0}, sizeof(int)));
        CHECK_EQ("one datagram", 8, SYS(recv(r, buf, 64, 0)));
    } else if (guest_is(argv, "empty")) {
        SYS(sendto(s, "", 0, 0, (void *)&a, sizeof a)), SYS(sendto(s, "x", 1, 0, (void *)&a, sizeof a));
        SYS(sendto(s, "", 0, 0, (void *)&a, sizeof a));
        guest_ready();
        CHECK_EQ("empty", 0, SYS(recvfrom(r, buf, 64, 0, (void *)&from, &len)));
        CHECK_EQ("sender", b.sin_port, from.sin_port);
        CHECK_EQ("x", 1, SYS(recv(r, buf, 64, 0)));
        CHECK_EQ("empty", 0, SYS(recv(r, buf, 64, 0)));
        CHECK_EQ("nothing", -1, recv(r, buf, 64, 0));
    } else if (guest_is(argv, "connected")) {
        SYS(connect(s, (void *)&a, sizeof a)), SYS(connect(r, (void *)&b, sizeof b));
        SYS(send(s, "one", 3, 0)), SYS(send(s, "three", 5, 0)), SYS(send(r, "back", 4, 0));
        guest_ready();
        CHECK_EQ("one", 3, SYS(recv(r, buf, 64, 0)));
        CHECK_EQ("three", 5, SYS(recv(r, buf, 64, 0)));
        CHECK_EQ("back", 4, SYS(recv(s, buf, 64, 0)));
        SYS(send(s, "on", 2, 0));
        CHECK_EQ("on", 2, SYS(recv(r, buf, 64, 0)));
    } else if (guest_is(argv, "gone")) {
        SYS(sendto(s, "gone", 4, 0, (void *)&a, sizeof a));
        close(s);
        guest_ready();
        CHECK_EQ("recv", 4, SYS(recvfrom(r, buf, 64, 0, (void *)&from, &len)));
        CHECK_EQ("sender", b.sin_port, from.sin_port);
    } else if (guest_is(argv, "itself")) {
        SYS(connect(r, (void *)&a, sizeof a));
        SYS(send(r, "me", 2, 0));
        guest_ready();
        CHECK_EQ("recv", 2, SYS(recv(r, buf, 64, 0)));
        SYS(send(r, "me", 2, 0));
        CHECK_EQ("recv", 2, SYS(recv(r, buf, 64, 0)));
    } else if (guest_is(argv, "lite")) {
        SYS(setsockopt(s, IPPROTO_UDPLITE, 10, &(int){12}, sizeof(int)));
        SYS(sendto(s, "lite", 4, 0, (void *)&a, sizeof a));
        guest_ready();
        int cov;
        socklen_t n = sizeof cov;
        SYS(getsockopt(s, IPPROTO_UDPLITE, 10, &cov, &n));
        CHECK_EQ("UDPLITE_SEND_CSCOV", 12, cov);
        CHECK_EQ("recv", 4, SYS(recv(r, buf, 64, 0)));
    } else if (guest_is(argv, "dual")) {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT}, who;
        socklen_t n = sizeof six;
        int d = socket(AF_INET6, SOCK_DGRAM, 0);
        if (d < 0)
            SKIP("no IPv6");
        SYS(bind(d, (void *)&six, sizeof six));
        SYS(getsockname(d, (void *)&six, &n));
        struct sockaddr_in to = lo();
        to.sin_port = six.sin6_port;
        SYS(sendto(s, "46", 2, 0, (void *)&to, sizeof to));
        guest_ready();
        n = sizeof who;
        CHECK_EQ("recv", 2, SYS(recvfrom(d, buf, 64, 0, (void *)&who, &n)));
        CHECK(IN6_IS_ADDR_V4MAPPED(&who.sin6_addr));
        CHECK_EQ("sender", b.sin_port, who.sin6_port);
    } else if (guest_is(argv, "dual_connected")) {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT}, who;
        socklen_t n = sizeof six;
        int d = socket(AF_INET6, SOCK_DGRAM, 0);
        if (d < 0)
            SKIP("no IPv6");
        SYS(bind(d, (void *)&six, sizeof six));
        SYS(getsockname(d, (void *)&six, &n));
        struct sockaddr_in to = lo();
        to.sin_port = six.sin6_port;
        SYS(connect(s, (void *)&to, sizeof to));
        SYS(send(s, "one", 3, 0)), SYS(send(s, "", 0, 0)), SYS(send(s, "three", 5, 0));
        guest_ready();
        n = sizeof who;
        CHECK_EQ("first", 3, SYS(recvfrom(d, buf, 64, 0, (void *)&who, &n)));
        CHECK_EQ("empty", 0, SYS(recv(d, buf, 64, 0)));
        CHECK_EQ("third", 5, SYS(recv(d, buf, 64, 0)));
        SYS(sendto(d, "back", 4, 0, (void *)&who, n));
        struct pollfd p = {s, POLLIN, 0};
        CHECK_EQ("answered", 1, poll(&p, 1, 1000));
        CHECK_EQ("answer", 4, SYS(recv(s, buf, 64, 0)));
    } else if (guest_is(argv, "multicast")) {
        struct ip_mreqn m = {.imr_multiaddr.s_addr = inet_addr("239.5.5.5"), .imr_address.s_addr = htonl(INADDR_LOOPBACK)};
        struct sockaddr_in any = {.sin_family = AF_INET}, to;
        int g = SYS(socket(AF_INET, SOCK_DGRAM, 0));
        SYS(bind(g, (void *)&any, sizeof any));
        SYS(getsockname(g, (void *)&any, &len));
        if (setsockopt(g, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m))
            SKIP("no multicast on loopback");
        SYS(setsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof m));
        guest_ready();
        to = any;
        to.sin_addr = m.imr_multiaddr;
        SYS(sendto(s, "group", 5, 0, (void *)&to, sizeof to));
        struct pollfd p = {g, POLLIN, 0};
        CHECK_EQ("still a member", 1, poll(&p, 1, 2000));
        CHECK_EQ("recv", 5, SYS(recv(g, buf, 64, 0)));
        CHECK_EQ("joined already", -1, setsockopt(g, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
        SYS(setsockopt(g, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof m));
    } else if (guest_is(argv, "multicast6")) {
        struct ipv6_mreq m = {.ipv6mr_interface = 1};
        int g = socket(AF_INET6, SOCK_DGRAM, 0);
        if (g < 0)
            SKIP("no IPv6");
        inet_pton(AF_INET6, "ff05::5:5", &m.ipv6mr_multiaddr);
        SYS(setsockopt(g, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &m, sizeof m));
        guest_ready();
        CHECK_EQ("joined already", -1, setsockopt(g, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &m, sizeof m));
        SYS(setsockopt(g, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &m, sizeof m));
    } else if (guest_is(argv, "recverr")) {
        // An error queue entry waits: the port is closed.
        close(r);
        SYS(setsockopt(s, IPPROTO_IP, IP_RECVERR, &(int){1}, sizeof(int)));
        SYS(connect(s, (void *)&a, sizeof a));
        SYS(send(s, "x", 1, 0));
        guest_ready();
        int on;
        socklen_t n = sizeof on;
        SYS(getsockopt(s, IPPROTO_IP, IP_RECVERR, &on, &n));
        CHECK_EQ("IP_RECVERR", 1, on);
    } else {
        int f = SYS(socket(AF_INET, SOCK_DGRAM, 0));
        SYS(setsockopt(f, SOL_SOCKET, SO_BROADCAST, &(int){1}, sizeof(int)));
        guest_ready();
        int on;
        socklen_t n = sizeof on;
        SYS(getsockopt(f, SOL_SOCKET, SO_BROADCAST, &on, &n));
        CHECK_EQ("SO_BROADCAST", 1, on);
        SYS(getsockname(f, (void *)&from, &len));
        CHECK_EQ("no port", 0, from.sin_port);
        SYS(sendto(f, "new", 3, 0, (void *)&a, sizeof a));
        CHECK_EQ("recv", 3, SYS(recv(r, buf, 64, 0)));
    }
    return 0;
}
