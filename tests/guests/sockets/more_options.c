// Every other socket option that can be read back, a filter, IP options; each on a socket of its kind.
#include "../guest.h"
#include <linux/filter.h>
#include <netinet/udp.h>
static const struct {
    int domain, type, level, name, value;
} list[] = {
    {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_SYNCNT, 3},      {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_LINGER2, 20},
    {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_MAXSEG, 800},    {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 9000},
    {AF_INET, SOCK_STREAM, IPPROTO_IP, IP_MINTTL, 5},        {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_PKTINFO, 1},
    {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_RECVTTL, 1},        {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_RECVTOS, 1},
    {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_RECVOPTS, 1},       {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_RETOPTS, 1},
    {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_MULTICAST_TTL, 7},  {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_MULTICAST_LOOP, 0},
    {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_MTU_DISCOVER, 2},   {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_FREEBIND, 1},
    {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_RECVFRAGSIZE, 1},   {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_CHECKSUM, 1},
    {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_NODEFRAG, 0},       {AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_TIMESTAMP, 1},
    {AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_RXQ_OVFL, 1},       {AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_DONTROUTE, 1},
    {AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_NO_CHECK, 1},       {AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1},
    {AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_WIFI_STATUS, 1},    {AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_INCOMING_CPU, 0},
    {AF_INET, SOCK_DGRAM, IPPROTO_UDP, 103 /* UDP_SEGMENT */, 600}, {AF_INET, SOCK_DGRAM, IPPROTO_UDP, 104 /* UDP_GRO */, 1},
    {AF_INET, SOCK_STREAM, SOL_SOCKET, SO_MAX_PACING_RATE, 1000000}, {AF_INET, SOCK_STREAM, SOL_SOCKET, SO_ZEROCOPY, 1},
    {AF_INET, SOCK_STREAM, SOL_SOCKET, SO_LOCK_FILTER, 1},   {AF_INET, SOCK_STREAM, IPPROTO_TCP, 36 /* TCP_INQ */, 1},
    {AF_INET, SOCK_STREAM, IPPROTO_TCP, 30 /* FASTOPEN_CONNECT */, 1}, {AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_DEFER_ACCEPT, 3},
    {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1}, {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_TCLASS, 16},
    {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_DONTFRAG, 1},  {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_RECVHOPOPTS, 1},
    {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_RECVRTHDR, 1}, {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_RECVDSTOPTS, 1},
    {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 4}, {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0},
    {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_MTU, 1300},    {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0},
    {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, 11 /* IPV6_FLOWINFO */, 1},  {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_MINHOPCOUNT, 6},
    {AF_UNIX, SOCK_DGRAM, SOL_SOCKET, SO_PASSCRED, 1},       {AF_UNIX, SOCK_STREAM, SOL_SOCKET, SO_RCVLOWAT, 9},
    {AF_NETLINK, SOCK_RAW, 270, 3 /* NETLINK_PKTINFO */, 1}, {AF_NETLINK, SOCK_RAW, 270, 4, 1},
    {AF_NETLINK, SOCK_RAW, 270, 5, 1},              {AF_NETLINK, SOCK_RAW, 270, 11 /* CAP_ACK */, 1},
};
enum { N = sizeof list / sizeof *list };
int main(void)
{
    int fd[N], want[N];
    for (int i = 0; i < N; i++) {
        socklen_t len = sizeof want[i];
        fd[i] = socket(list[i].domain, list[i].type, 0);
        want[i] = 0;
        // What this kernel does not know is no state either.
        if (fd[i] < 0 || setsockopt(fd[i], list[i].level, list[i].name, &list[i].value, sizeof(int)) ||
            getsockopt(fd[i], list[i].level, list[i].name, &want[i], &len)) {
            if (fd[i] >= 0)
                close(fd[i]);
            fd[i] = -1;
        }
    }
    struct sock_filter code[] = {{BPF_LD | BPF_W | BPF_LEN, 0, 0, 0}, {BPF_JMP | BPF_JGE | BPF_K, 0, 1, 12}, {BPF_RET | BPF_K, 0, 0, 0}, {BPF_RET | BPF_K, 0, 0, 0xffff}}, back[4];
    struct sock_fprog prog = {4, code};
    int s[2], f = SYS(socket(AF_INET, SOCK_DGRAM, 0));
    SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    SYS(setsockopt(s[1], SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof prog));
    unsigned char opts[8] = {0x44, 8, 5, 0, 0, 0, 0, 0}, got[40];
    int have_opts = setsockopt(f, IPPROTO_IP, IP_OPTIONS, opts, sizeof opts) == 0;
    guest_ready();
    for (int i = 0; i < N; i++) {
        int now = -1;
        socklen_t len = sizeof now;
        if (fd[i] < 0)
            continue;
        SYS(getsockopt(fd[i], list[i].level, list[i].name, &now, &len));
        if (now != want[i])
            guest_fail("family %d: option %d of level %d, expected %d, got %d", list[i].domain, list[i].name, list[i].level, want[i], now);
    }
    socklen_t len = 4;
    SYS(getsockopt(s[1], SOL_SOCKET, SO_GET_FILTER, back, &len));
    CHECK_EQ("instructions", 4, len);
    CHECK(memcmp(code, back, sizeof code) == 0);
    char buf[64];
    SYS(send(s[0], "this is too long for it", 23, 0));
    SYS(send(s[0], "short", 5, 0));
    CHECK_EQ("only the short one passes", 5, SYS(recv(s[1], buf, sizeof buf, MSG_DONTWAIT)));
    len = sizeof got;
    if (have_opts) {
        SYS(getsockopt(f, IPPROTO_IP, IP_OPTIONS, got, &len));
        CHECK_EQ("IP_OPTIONS", 8, len);
        CHECK_EQ("first byte", 0x44, got[0]);
    }
    return 0;
}
