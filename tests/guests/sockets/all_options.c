// Whatever getsockopt can read, of every level, reads the same afterwards: plain sockets and some with options set.
// args: tcp4 tcp6 listen4 listen6 pair4 udp4 udp6 connected4 unix_stream unix_dgram unix_listen
#include "../guest.h"
#define LEVELS 5
#define OPTIONS 128
static const int level[LEVELS] = {SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP};
struct value { int result; socklen_t len; unsigned char bytes[256]; };
static struct value before[3][LEVELS][OPTIONS];
static int connected;
// What counts or measures: TCP_INFO, SO_ERROR, what waits, cookies, addresses, round trip times, namespaces; of a
// connection the size of segments and quick acknowledgements, which change by themselves.
static int moves(int l, int o)
{
    if (l == IPPROTO_TCP && (o == TCP_MAXSEG || o == TCP_QUICKACK))
        return connected;
    if (l == SOL_SOCKET)
        return o == SO_ERROR || o == SO_COOKIE || o == SO_PEERCRED || o == SO_INCOMING_CPU || o == SO_INCOMING_NAPI_ID || o == SO_MEMINFO || o == 77 || o == 71;
    if (l == IPPROTO_TCP)
        return o == TCP_INFO || o == TCP_CC_INFO || o == 24 /* TIMESTAMP */ || o == 20 /* QUEUE_SEQ */ || o == 35 /* ZEROCOPY_RECEIVE */;
    return (l == IPPROTO_IP && o == IP_MTU) || (l == IPPROTO_IPV6 && o == IPV6_MTU);
}
static void read_all(int s, struct value (*to)[OPTIONS])
{
    for (int l = 0; l < LEVELS; l++)
        for (int o = 1; o < OPTIONS; o++) {
            struct value *v = &to[l][o];
            memset(v, 0, sizeof *v);
            if (moves(level[l], o))
                continue;
            v->len = sizeof v->bytes;
            v->result = getsockopt(s, level[l], o, v->bytes, &v->len) == 0 ? 0 : errno;
            if (v->result)
                v->len = 0;
        }
}
static struct value after[LEVELS][OPTIONS];
static void compare(int n, int s)
{
    int bad = 0;
    read_all(s, after);
    for (int l = 0; l < LEVELS; l++)
        for (int o = 1; o < OPTIONS; o++)
            if (memcmp(&before[n][l][o], &after[l][o], sizeof(struct value))) {
                struct value *a = &before[n][l][o], *b = &after[l][o];
                bad++;
                fprintf(stderr, "socket %d level %d option %d: result %d len %d %08x, now %d %d %08x\n", n, level[l], o, a->result, a->len, *(unsigned *)a->bytes, b->result, b->len, *(unsigned *)b->bytes);
            }
    CHECK_EQ("options that differ", 0, bad);
}
static void set(int s, int l, int o, int v) { setsockopt(s, l, o, &v, sizeof v); }
static void unusual(int s)
{
    struct timeval tv = {3, 250000};
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    int on[] = {SO_KEEPALIVE, SO_BROADCAST, SO_OOBINLINE, SO_TIMESTAMP, SO_PASSCRED, SO_DONTROUTE, SO_RXQ_OVFL, SO_SELECT_ERR_QUEUE, SO_NO_CHECK, SO_ZEROCOPY, SO_PASSSEC};
    for (unsigned i = 0; i < sizeof on / sizeof *on; i++)
        set(s, SOL_SOCKET, on[i], 1);
    set(s, SOL_SOCKET, SO_PRIORITY, 5), set(s, SOL_SOCKET, SO_SNDBUF, 70000), set(s, SOL_SOCKET, SO_RCVBUF, 90000);
    set(s, SOL_SOCKET, SO_RCVLOWAT, 3), set(s, SOL_SOCKET, SO_MAX_PACING_RATE, 12345678), set(s, SOL_SOCKET, SO_BUSY_POLL, 20);
    set(s, SOL_SOCKET, SO_PREFER_BUSY_POLL, 1), set(s, SOL_SOCKET, 74, 0), set(s, SOL_SOCKET, SO_MARK, 9), set(s, SOL_SOCKET, 84, 1);
    set(s, IPPROTO_IP, IP_TOS, 0x10), set(s, IPPROTO_IP, IP_TTL, 77), set(s, IPPROTO_IP, IP_RECVTOS, 1), set(s, IPPROTO_IP, IP_RECVTTL, 1);
    set(s, IPPROTO_IP, IP_PKTINFO, 1), set(s, IPPROTO_IP, IP_RECVOPTS, 1), set(s, IPPROTO_IP, IP_RETOPTS, 1), set(s, IPPROTO_IP, IP_RECVERR, 1);
    set(s, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT), set(s, IPPROTO_IP, IP_FREEBIND, 1), set(s, IPPROTO_IP, IP_TRANSPARENT, 1);
    set(s, IPPROTO_IP, IP_MULTICAST_TTL, 9), set(s, IPPROTO_IP, IP_MULTICAST_LOOP, 0), set(s, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    set(s, IPPROTO_IP, IP_NODEFRAG, 1), set(s, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1), set(s, IPPROTO_IP, IP_MINTTL, 4), set(s, IPPROTO_IP, IP_CHECKSUM, 1);
    set(s, IPPROTO_IP, IP_RECVORIGDSTADDR, 1), set(s, IPPROTO_IP, IP_PASSSEC, 1), set(s, IPPROTO_IP, 25 /* RECVFRAGSIZE */, 1), set(s, IPPROTO_IP, IP_RECVERR_RFC4884, 1);
    unsigned char record_route[] = {7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    setsockopt(s, IPPROTO_IP, IP_OPTIONS, record_route, sizeof record_route);
    int v6[] = {IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS, IPV6_RECVRTHDR, IPV6_RECVHOPOPTS, IPV6_RECVDSTOPTS, IPV6_RECVERR, IPV6_FREEBIND, IPV6_TRANSPARENT, IPV6_AUTOFLOWLABEL, IPV6_DONTFRAG, IPV6_RECVFRAGSIZE, IPV6_RECVPATHMTU, IPV6_RECVORIGDSTADDR, IPV6_RECVERR_RFC4884, 33 /* FLOWINFO_SEND */, 11 /* FLOWINFO */};
    for (unsigned i = 0; i < sizeof v6 / sizeof *v6; i++)
        set(s, IPPROTO_IPV6, v6[i], 1);
    set(s, IPPROTO_IPV6, IPV6_TCLASS, 0x20), set(s, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33), set(s, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 7), set(s, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0);
    set(s, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT), set(s, IPPROTO_IPV6, IPV6_MINHOPCOUNT, 3), set(s, IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, 2), set(s, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
    set(s, IPPROTO_TCP, TCP_NODELAY, 1), set(s, IPPROTO_TCP, TCP_MAXSEG, 1000), set(s, IPPROTO_TCP, TCP_KEEPIDLE, 100), set(s, IPPROTO_TCP, TCP_KEEPINTVL, 20), set(s, IPPROTO_TCP, TCP_KEEPCNT, 4);
    set(s, IPPROTO_TCP, TCP_SYNCNT, 3), set(s, IPPROTO_TCP, TCP_LINGER2, 30), set(s, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5), set(s, IPPROTO_TCP, TCP_WINDOW_CLAMP, 50000), set(s, IPPROTO_TCP, TCP_QUICKACK, 0);
    set(s, IPPROTO_TCP, TCP_USER_TIMEOUT, 4321), set(s, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1), set(s, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 8192), set(s, IPPROTO_TCP, TCP_SAVE_SYN, 1), set(s, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1);
    set(s, IPPROTO_TCP, TCP_INQ, 1), set(s, IPPROTO_TCP, 37, 1000);
    set(s, SOL_SOCKET, 82 /* RCVPRIORITY */, 1), set(s, IPPROTO_IP, 51 /* LOCAL_PORT_RANGE */, 45900 << 16 | 45100);
    setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    setsockopt(s, IPPROTO_TCP, TCP_FASTOPEN_KEY, "0123456789abcdef", 16);
    set(s, IPPROTO_UDP, 101 /* NO_CHECK6_TX */, 1), set(s, IPPROTO_UDP, 102, 1), set(s, IPPROTO_UDP, 103 /* SEGMENT */, 1200), set(s, IPPROTO_UDP, 104 /* GRO */, 1);
}
static int make(const char *what)
{
    int v6 = strchr(what, '6') != NULL, unix_ = !strncmp(what, "unix", 4), dgram = strstr(what, "udp") || strstr(what, "dgram") || strstr(what, "connected");
    return SYS(socket(unix_ ? AF_UNIX : v6 ? AF_INET6 : AF_INET, dgram ? SOCK_DGRAM : SOCK_STREAM, 0));
}
int main(int argc, char **argv)
{
    CHECK(argc > 1);
    const char *what = argv[1];
    int s[3] = {make(what), make(what), make(what)}, peer;
    unusual(s[1]);
    set(s[2], SOL_SOCKET, SO_REUSEADDR, 1), set(s[2], SOL_SOCKET, SO_REUSEPORT, 1);
    if (strstr(what, "connected") || !strncmp(what, "pair", 4)) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof a;
        peer = make(what);
        SYS(bind(peer, (void *)&a, n)), SYS(getsockname(peer, (void *)&a, &n));
        connected = 1;
        if (what[0] == 'p')
            SYS(listen(peer, 5));
        for (int i = 0; i < 3; i++)
            SYS(connect(s[i], (void *)&a, n));
        unusual(s[1]);
    } else if (strstr(what, "listen")) {
        for (int i = 0; i < 3; i++)
            if (!strncmp(what, "unix", 4)) {
                struct sockaddr_un u = {.sun_family = AF_UNIX};
                sprintf(u.sun_path + 1, "%s-%d-%d", what, guest_unique(), i);
                SYS(bind(s[i], (void *)&u, sizeof u)), SYS(listen(s[i], 5));
            } else
                SYS(listen(s[i], 5));
        unusual(s[1]);
    }
    // One setting for old and new times.
    set(s[2], SOL_SOCKET, 64 /* SO_TIMESTAMPNS_NEW */, 1), set(s[2], SOL_SOCKET, 65 /* SO_TIMESTAMPING_NEW */, 16);
    for (int i = 0; i < 3; i++)
        read_all(s[i], before[i]);
    guest_ready();
    for (int i = 0; i < 3; i++)
        compare(i, s[i]);
    return 0;
}
