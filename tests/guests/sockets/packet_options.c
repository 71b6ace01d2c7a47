// Packet and raw sockets: what packets are taken and told, who shares them, what the card is asked for.
// args: told fanout memberships icmp icmp6 checksum
#include "../guest.h"
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
// linux/icmp.h and net/if.h exclude each other.
#define ICMP_FILTER 1
static int open_or_skip(int family, int type, int protocol)
{
    int fd = socket(family, type, protocol);
    if (fd < 0)
        SKIP("socket: %s", strerror(errno));
    return fd;
}
static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    SYS(getsockopt(fd, level, name, &value, &len));
    return value;
}
static void set(int fd, int level, int name, int value) { SYS(setsockopt(fd, level, name, &value, sizeof value)); }
static int packet(void)
{
    struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = if_nametoindex("lo")};
    int fd = open_or_skip(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
    SYS(bind(fd, (void *)&a, sizeof a));
    return fd;
}
int main(int argc, char **argv)
{
    (void)argc;
    if (guest_is(argv, "told")) {
        int fd = packet();
        set(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2);
        set(fd, SOL_PACKET, PACKET_AUXDATA, 1);
        set(fd, SOL_PACKET, PACKET_ORIGDEV, 1);
        set(fd, SOL_PACKET, PACKET_RESERVE, 32);
        set(fd, SOL_PACKET, PACKET_LOSS, 1);
        guest_ready();
        CHECK_EQ("version", TPACKET_V2, option(fd, SOL_PACKET, PACKET_VERSION));
        CHECK_EQ("auxdata", 1, option(fd, SOL_PACKET, PACKET_AUXDATA));
        CHECK_EQ("origdev", 1, option(fd, SOL_PACKET, PACKET_ORIGDEV));
        CHECK_EQ("reserve", 32, option(fd, SOL_PACKET, PACKET_RESERVE));
        CHECK_EQ("loss", 1, option(fd, SOL_PACKET, PACKET_LOSS));
    } else if (guest_is(argv, "fanout")) {
        int a = packet(), b = packet(), how = (guest_unique() & 0xffff) | PACKET_FANOUT_LB << 16;
        set(a, SOL_PACKET, PACKET_FANOUT, how), set(b, SOL_PACKET, PACKET_FANOUT, how);
        guest_ready();
        CHECK_EQ("first", how, option(a, SOL_PACKET, PACKET_FANOUT));
        CHECK_EQ("second", how, option(b, SOL_PACKET, PACKET_FANOUT));
    } else if (guest_is(argv, "memberships")) {
        int fd = packet();
        struct packet_mreq all = {.mr_ifindex = if_nametoindex("lo"), .mr_type = PACKET_MR_PROMISC};
        struct packet_mreq one = {.mr_ifindex = all.mr_ifindex, .mr_type = PACKET_MR_MULTICAST, .mr_alen = 6, .mr_address = {1, 0, 0x5e, 1, 2, 3}};
        SYS(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all));
        SYS(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all));
        SYS(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &one, sizeof one));
        guest_ready();
        for (int i = 0; i < 2; i++)
            SYS(setsockopt(fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &all, sizeof all));
        SYS(setsockopt(fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &one, sizeof one));
    } else if (guest_is(argv, "icmp")) {
        int fd = open_or_skip(AF_INET, SOCK_RAW, IPPROTO_ICMP), mask = ~1 /* echo replies */;
        set(fd, SOL_RAW, ICMP_FILTER, mask);
        guest_ready();
        CHECK_EQ("filter", mask, option(fd, SOL_RAW, ICMP_FILTER));
    } else if (guest_is(argv, "icmp6")) {
        int fd = open_or_skip(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
        struct icmp6_filter f, now;
        socklen_t len = sizeof now;
        ICMP6_FILTER_SETBLOCKALL(&f);
        ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &f);
        SYS(setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &f, sizeof f));
        guest_ready();
        SYS(getsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &now, &len));
        CHECK(memcmp(&f, &now, sizeof f) == 0);
    } else {
        int fd = open_or_skip(AF_INET6, SOCK_RAW, 253);
        set(fd, IPPROTO_IPV6, IPV6_CHECKSUM, 6);
        guest_ready();
        CHECK_EQ("checksum", 6, option(fd, IPPROTO_IPV6, IPV6_CHECKSUM));
    }
    return 0;
}
