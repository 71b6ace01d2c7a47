// Raw and packet sockets, where they are allowed: bound, with options, working after.
#include "../guest.h"
#include <linux/if_packet.h>
#include <net/ethernet.h>
int main(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = 1}, got;
    struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = 1}, now;
    socklen_t len = sizeof got;
    char buf[256];
    int raw = socket(AF_INET, SOCK_RAW, 143 + guest_unique() % 100), packet = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
    if (raw < 0)
        SKIP("raw sockets: %s", strerror(errno));
    SYS(bind(raw, (void *)&a, sizeof a));
    SYS(connect(raw, (void *)&a, sizeof a));
    SYS(setsockopt(raw, IPPROTO_IP, IP_TTL, &(int){9}, sizeof(int)));
    int inc = SYS(socket(AF_INET, SOCK_RAW, IPPROTO_RAW));
    if (packet >= 0)
        SYS(bind(packet, (void *)&ll, sizeof ll));
    guest_ready();
    SYS(getpeername(raw, (void *)&got, &len));
    CHECK_EQ("peer", a.sin_addr.s_addr, got.sin_addr.s_addr);
    SYS(send(raw, "hello", 5, 0));
    CHECK_EQ("with its header", 25, SYS(recv(raw, buf, sizeof buf, 0)));
    int on;
    len = sizeof on;
    SYS(getsockopt(inc, IPPROTO_IP, IP_HDRINCL, &on, &len));
    CHECK_EQ("IP_HDRINCL", 1, on);
    if (packet >= 0) {
        len = sizeof now;
        SYS(getsockname(packet, (void *)&now, &len));
        CHECK_EQ("interface", 1, now.sll_ifindex);
        CHECK_EQ("protocol", ll.sll_protocol, now.sll_protocol);
    }
    return 0;
}
