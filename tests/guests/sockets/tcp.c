// TCP over loopback between parent and child, with data in flight both ways; names of both ends hold.
// args: v4 v6 one_process
#include "../guest.h"
static char **args;
static struct sockaddr_storage server, me;
static socklen_t alen;
static char big[200000];
static int client;
static int v6(void) { return guest_is(args, "v6"); }
static void names(int fd, struct sockaddr_storage *local, struct sockaddr_storage *peer)
{
    socklen_t l = sizeof *local;
    memset(local, 0, sizeof *local);
    memset(peer, 0, sizeof *peer);
    SYS(getsockname(fd, (void *)local, &l));
    l = sizeof *peer;
    SYS(getpeername(fd, (void *)peer, &l));
}
static void connects(void)
{
    client = SYS(socket(v6() ? AF_INET6 : AF_INET, SOCK_STREAM, 0));
    SYS(connect(client, (void *)&server, alen));
    SYS(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)));
    CHECK_EQ("send", 10, send(client, "from child", 10, 0));
}
static void ends(void)
{
    struct sockaddr_storage a, b;
    socklen_t l = sizeof(int);
    int on;
    char buf[100];
    names(client, &a, &b);
    CHECK(memcmp(&b, &server, alen) == 0 && memcmp(&a, &me, alen) == 0);
    SYS(getsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, &l));
    CHECK_EQ("TCP_NODELAY", 1, on);
    CHECK_EQ("recv", 11, SYS(recv(client, buf, 11, MSG_WAITALL)));
    CHECK(memcmp(buf, "from parent", 11) == 0);
    guest_fill(big, sizeof big, 6);
    for (size_t sent = 0; sent < sizeof big;)
        sent += SYS(send(client, big + sent, sizeof big - sent, 0));
    SYS(shutdown(client, SHUT_WR));
    CHECK_EQ("EOF", 0, SYS(recv(client, buf, 1, 0)));
}
static void child(void)
{
    struct sockaddr_storage peer;
    connects();
    names(client, &me, &peer);
    guest_note("connected");
    guest_await_go();
    ends();
}
static void *other_end(void *x)
{
    ends();
    return x;
}
int main(int argc, char **argv)
{
    struct sockaddr_in *a4 = (void *)&server;
    struct sockaddr_in6 *a6 = (void *)&server;
    struct sockaddr_storage l1, p1, l2, p2;
    char buf[16];
    pid_t kid = 0;
    (void)argc;
    args = argv;
    alen = v6() ? sizeof *a6 : sizeof *a4;
    if (v6())
        a6->sin6_family = AF_INET6, a6->sin6_addr = in6addr_loopback;
    else
        a4->sin_family = AF_INET, a4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int l = socket(v6() ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    if (l < 0 || bind(l, (void *)&server, alen))
        SKIP("no such address family here");
    socklen_t len = alen;
    SYS(getsockname(l, (void *)&server, &len));
    SYS(listen(l, 5));
    if (guest_is(argv, "one_process")) {
        connects();
        names(client, &me, &p1);
    } else {
        kid = guest_fork(child);
        guest_await("connected");
    }
    int s = SYS(accept(l, NULL, NULL));
    CHECK_EQ("send", 11, send(s, "from parent", 11, 0));
    names(s, &l1, &p1);
    guest_ready();
    names(s, &l2, &p2);
    CHECK(memcmp(&l1, &l2, sizeof l1) == 0 && memcmp(&p1, &p2, sizeof p1) == 0);
    CHECK_EQ("recv", 10, SYS(recv(s, buf, 10, MSG_WAITALL)));
    CHECK(memcmp(buf, "from child", 10) == 0);
    pthread_t t = kid ? 0 : guest_thread(other_end, NULL);
    static char in[sizeof big];
    ssize_t n, got = 0;
    while ((n = SYS(recv(s, in + got, sizeof in - got, 0))) > 0)
        got += n;
    CHECK_EQ("length", sizeof in, got);
    guest_verify("stream", in, sizeof in, 6);
    close(s);
    kid ? guest_reap(kid, 0) : (void)guest_join(t);
    // The listener still listens.
    int again = SYS(socket(v6() ? AF_INET6 : AF_INET, SOCK_STREAM, 0));
    SYS(connect(again, (void *)&server, alen));
    close(SYS(accept(l, NULL, NULL)));
    return 0;
}
