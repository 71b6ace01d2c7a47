// Datagrams in a queue keep where they were sent to: another address of the host, a group that two sockets are bound
// to, a broadcast; an address that was bound without a port is kept.
// args: asked_at asked_at6 group group6 broadcast no_port no_port_tcp
#include "inet.h"
static int udp(int family) { return SYS(socket(family, SOCK_DGRAM | SOCK_NONBLOCK, 0)); }
// One datagram; its IP_PKTINFO destination.
static struct in_addr receive(int fd, const char *text, struct sockaddr_in *from)
{
    char control[256], buf[64];
    struct iovec iov = {buf, sizeof buf};
    struct msghdr m = {.msg_name = from, .msg_namelen = sizeof *from, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    CHECK_EQ("recvmsg", strlen(text), SYS(recvmsg(fd, &m, 0)));
    CHECK(!memcmp(buf, text, strlen(text)));
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    CHECK(h && h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO);
    return ((struct in_pktinfo *)CMSG_DATA(h))->ipi_addr;
}
static void nothing(int fd)
{
    char c;
    CHECK_EQ("no more", -1, recv(fd, &c, 1, MSG_DONTWAIT));
}
static void says(int fd, const char *text)
{
    char buf[64];
    struct pollfd p = {fd, POLLIN, 0};
    CHECK_EQ("it comes", 1, poll(&p, 1, 2000));
    CHECK_EQ("recv", strlen(text), SYS(recv(fd, buf, sizeof buf, 0)));
    CHECK(!memcmp(buf, text, strlen(text)));
}
int main(int argc, char **argv)
{
    (void)argc;
    struct sockaddr_in any = {.sin_family = AF_INET}, from, other = lo();
    if (guest_is(argv, "asked_at")) {
        // The client is connected to the address that it asked at, and takes an answer from nowhere else.
        int r = udp(AF_INET), c = udp(AF_INET);
        take_name(r, &any);
        set(r, IPPROTO_IP, IP_PKTINFO, 1);
        other.sin_addr.s_addr = inet_addr("127.0.0.9"), other.sin_port = any.sin_port;
        SYS(connect(c, (void *)&other, sizeof other));
        SYS(send(c, "ask", 3, 0)), SYS(send(c, "again", 5, 0));
        guest_ready();
        CHECK_EQ("destination", other.sin_addr.s_addr, receive(r, "ask", &from).s_addr);
        CHECK_EQ("destination", other.sin_addr.s_addr, receive(r, "again", &from).s_addr);
        nothing(r);
        struct sockaddr_in mine;
        name_of(c, &mine);
        CHECK_EQ("sender", mine.sin_port, from.sin_port);
        SYS(send(c, "on", 2, 0));
        CHECK_EQ("destination", other.sin_addr.s_addr, receive(r, "on", &from).s_addr);
    } else if (guest_is(argv, "asked_at6")) {
        // IPv4 at a socket of IPv6, and IPv6.
        struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT}, to;
        socklen_t n = sizeof six;
        int r = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0), c = udp(AF_INET);
        if (r < 0 || bind(r, (void *)&six, n))
            SKIP("no IPv6");
        SYS(getsockname(r, (void *)&six, &n));
        int c6 = udp(AF_INET6);
        other.sin_addr.s_addr = inet_addr("127.0.0.9"), other.sin_port = six.sin6_port;
        to = six, to.sin6_addr = in6addr_loopback;
        SYS(connect(c, (void *)&other, sizeof other));
        SYS(send(c, "four", 4, 0));
        int v6 = sendto(c6, "six", 3, 0, (void *)&to, sizeof to) == 3;
        guest_ready();
        says(r, "four");
        if (v6)
            says(r, "six");
        nothing(r);
    } else if (guest_is(argv, "group") || guest_is(argv, "group6")) {
        int v6 = guest_is(argv, "group6"), fd[3];
        struct sockaddr_in6 g6 = {.sin6_family = AF_INET6, .sin6_scope_id = 1};
        struct sockaddr_in g4 = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("239.5.5.6")};
        inet_pton(AF_INET6, "ff01::5:6", &g6.sin6_addr);
        struct sockaddr *group = v6 ? (void *)&g6 : (void *)&g4;
        socklen_t n = v6 ? sizeof g6 : sizeof g4;
        struct ip_mreqn m = {.imr_multiaddr = g4.sin_addr, .imr_address.s_addr = htonl(INADDR_LOOPBACK)};
        struct ipv6_mreq m6 = {.ipv6mr_multiaddr = g6.sin6_addr, .ipv6mr_interface = 1};
        for (int i = 0; i < 2; i++) {
            fd[i] = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
            if (fd[i] < 0)
                SKIP("no IPv6");
            set(fd[i], SOL_SOCKET, SO_REUSEADDR, 1);
            if (bind(fd[i], group, n))
                SKIP("no multicast");
            SYS(getsockname(fd[i], group, &n));
            if (v6 ? setsockopt(fd[i], IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &m6, sizeof m6) : setsockopt(fd[i], IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m))
                SKIP("no multicast on loopback");
        }
        fd[2] = udp(v6 ? AF_INET6 : AF_INET);
        if (v6)
            set(fd[2], IPPROTO_IPV6, IPV6_MULTICAST_IF, 1);
        else
            SYS(setsockopt(fd[2], IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof m));
        if (sendto(fd[2], "one", 3, 0, group, n) != 3)
            SKIP("nothing is sent to a group");
        SYS(sendto(fd[2], "two", 3, 0, group, n));
        guest_ready();
        for (int i = 0; i < 2; i++)
            says(fd[i], "one"), says(fd[i], "two"), nothing(fd[i]);
        SYS(sendto(fd[2], "on", 2, 0, group, n));
        for (int i = 0; i < 2; i++)
            says(fd[i], "on"), nothing(fd[i]);
    } else if (guest_is(argv, "broadcast")) {
        int r = udp(AF_INET), s = udp(AF_INET);
        take_name(r, &any);
        set(r, IPPROTO_IP, IP_PKTINFO, 1), set(s, SOL_SOCKET, SO_BROADCAST, 1);
        other.sin_addr.s_addr = inet_addr("127.255.255.255"), other.sin_port = any.sin_port;
        SYS(sendto(s, "all", 3, 0, (void *)&other, sizeof other));
        guest_ready();
        CHECK_EQ("destination", other.sin_addr.s_addr, receive(r, "all", &from).s_addr);
        nothing(r);
    } else {
        int tcp = guest_is(argv, "no_port_tcp"), c = SYS(socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0)), l;
        struct sockaddr_in mine = lo(), to = lo(), got;
        l = tcp ? listening(&to) : bound(SOCK_DGRAM, &to);
        mine.sin_addr.s_addr = inet_addr("127.0.0.7");
        set(c, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        SYS(bind(c, (void *)&mine, sizeof mine));
        guest_ready();
        name_of(c, &got);
        CHECK_EQ("address", mine.sin_addr.s_addr, got.sin_addr.s_addr);
        CHECK_EQ("no port", 0, got.sin_port);
        CHECK_EQ("option", 1, opt(c, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT));
        SYS(connect(c, (void *)&to, sizeof to));
        name_of(c, &got);
        CHECK_EQ("address", mine.sin_addr.s_addr, got.sin_addr.s_addr);
        close(l);
    }
    return 0;
}
