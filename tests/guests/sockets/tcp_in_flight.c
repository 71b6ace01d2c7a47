// Megabytes in flight over TCP, the writer blocked; every byte arrives once and in order.
#include "../guest.h"
enum { LEN = 8 << 20 };
static int c;
static char *out;
static void child(void)
{
    for (int sent = 0; sent < LEN;)
        sent += SYS(send(c, out + sent, LEN - sent, 0));
    char done;
    CHECK_EQ("recv", 1, SYS(recv(c, &done, 1, 0)));
}
int main(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    out = malloc(LEN);
    guest_fill(out, LEN, 8);
    int l = SYS(socket(AF_INET, SOCK_STREAM, 0));
    SYS(bind(l, (void *)&a, sizeof a));
    SYS(listen(l, 1));
    SYS(getsockname(l, (void *)&a, &len));
    c = SYS(socket(AF_INET, SOCK_STREAM, 0));
    SYS(connect(c, (void *)&a, sizeof a));
    int s = SYS(accept(l, NULL, NULL));
    close(l);
    pid_t kid = guest_fork(child);
    close(c);
    guest_await_in(kid, SYS_sendto);
    guest_ready();
    char *in = malloc(LEN);
    for (int got = 0, n; got < LEN; got += n) {
        n = SYS(recv(s, in + got, LEN - got, 0));
        CHECK(n > 0);
    }
    guest_verify("stream", in, LEN, 8);
    CHECK_EQ("send", 1, send(s, "!", 1, 0));
    guest_reap(kid, 0);
    return 0;
}
