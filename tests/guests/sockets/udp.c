// UDP: bound with queued datagrams and their senders, connected, v4 and v6.
// args: v4 v6
#include "../guest.h"
int main(int argc, char **argv)
{
    (void)argc;
    int v6 = guest_is(argv, "v6"), family = v6 ? AF_INET6 : AF_INET;
    struct sockaddr_storage a = {.ss_family = family}, b = a, from, got;
    socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in), n;
    char buf[2000];
    if (v6)
        ((struct sockaddr_in6 *)&a)->sin6_addr = in6addr_loopback;
    else
        ((struct sockaddr_in *)&a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    b = a;
    int sa = socket(family, SOCK_DGRAM, 0), sb = socket(family, SOCK_DGRAM, 0);
    if (sa < 0 || bind(sa, (void *)&a, len))
        SKIP("no such address family here");
    SYS(bind(sb, (void *)&b, len));
    n = len, SYS(getsockname(sa, (void *)&a, &n));
    n = len, SYS(getsockname(sb, (void *)&b, &n));
    SYS(connect(sb, (void *)&a, len));
    for (int i = 0; i < 4; i++) {
        guest_fill(buf, 500 + i, i);
        CHECK_EQ("send", 500 + i, send(sb, buf, 500 + i, 0));
    }
    SYS(setsockopt(sa, SOL_SOCKET, SO_BROADCAST, &(int){1}, sizeof(int)));
    guest_ready();
    for (int i = 0; i < 4; i++) {
        n = sizeof from;
        CHECK_EQ("recv", 500 + i, SYS(recvfrom(sa, buf, sizeof buf, MSG_DONTWAIT, (void *)&from, &n)));
        guest_verify("datagram", buf, 500 + i, i);
        CHECK(memcmp(&from, &b, len) == 0);
    }
    n = sizeof got;
    SYS(getsockname(sa, (void *)&got, &n));
    CHECK(memcmp(&got, &a, len) == 0);
    n = sizeof got;
    SYS(getpeername(sb, (void *)&got, &n));
    CHECK(memcmp(&got, &a, len) == 0);
    int on = 0;
    n = sizeof on;
    SYS(getsockopt(sa, SOL_SOCKET, SO_BROADCAST, &on, &n));
    CHECK_EQ("SO_BROADCAST", 1, on);
    CHECK_EQ("sendto", 5, SYS(sendto(sa, "reply", 5, 0, (void *)&b, len)));
    CHECK_EQ("recv", 5, SYS(recv(sb, buf, sizeof buf, 0)));
    return 0;
}
