// Socket options of TCP, UDP and UNIX sockets.
#include "../guest.h"
static const struct {
    int domain, level, name, value;
} list[] = {
    {AF_INET, SOL_SOCKET, SO_REUSEADDR, 1},  {AF_INET, SOL_SOCKET, SO_REUSEPORT, 1},  {AF_INET, SOL_SOCKET, SO_KEEPALIVE, 1},
    {AF_INET, SOL_SOCKET, SO_OOBINLINE, 1},  {AF_INET, SOL_SOCKET, SO_PRIORITY, 3},   {AF_INET, SOL_SOCKET, SO_RCVLOWAT, 7},
    {AF_INET, IPPROTO_TCP, TCP_NODELAY, 1},  {AF_INET, IPPROTO_TCP, TCP_KEEPIDLE, 99}, {AF_INET, IPPROTO_TCP, TCP_KEEPCNT, 4},
    {AF_INET, IPPROTO_TCP, TCP_KEEPINTVL, 11}, {AF_INET, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000}, {AF_INET, IPPROTO_IP, IP_TOS, 0x10},
    {AF_INET, IPPROTO_IP, IP_TTL, 33},       {AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, 1}, {AF_INET6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 44},
    {AF_UNIX, SOL_SOCKET, SO_PASSCRED, 1},   {AF_UNIX, SOL_SOCKET, SO_PEEK_OFF, 2},
};
enum { N = sizeof list / sizeof *list };
int main(void)
{
    int fd[N];
    struct linger lg = {1, 5}, lg2;
    struct timeval tv = {12, 0}, tv2;
    for (int i = 0; i < N; i++) {
        fd[i] = socket(list[i].domain, SOCK_STREAM, 0);
        if (fd[i] >= 0)
            SYS(setsockopt(fd[i], list[i].level, list[i].name, &list[i].value, sizeof(int)));
    }
    SYS(setsockopt(fd[0], SOL_SOCKET, SO_LINGER, &lg, sizeof lg));
    SYS(setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    SYS(setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &(int){50000}, sizeof(int)));
    guest_ready();
    for (int i = 0; i < N; i++) {
        int got = -1;
        socklen_t len = sizeof got;
        if (fd[i] < 0)
            continue;
        SYS(getsockopt(fd[i], list[i].level, list[i].name, &got, &len));
        if (got != list[i].value)
            guest_fail("option %d of level %d, expected %d, got %d", list[i].name, list[i].level, list[i].value, got);
    }
    socklen_t len = sizeof lg2;
    SYS(getsockopt(fd[0], SOL_SOCKET, SO_LINGER, &lg2, &len));
    CHECK_EQ("SO_LINGER", 5, lg2.l_linger);
    len = sizeof tv2;
    SYS(getsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &tv2, &len));
    CHECK_EQ("SO_RCVTIMEO", 12, tv2.tv_sec);
    int size;
    len = sizeof size;
    SYS(getsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &size, &len));
    CHECK_EQ("SO_RCVBUF", 100000, size);
    return 0;
}
