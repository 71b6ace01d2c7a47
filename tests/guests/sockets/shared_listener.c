// A pre-forked server: children blocked in accept on one listener; clients come after.
#include "../guest.h"
static int l;
static void worker(void)
{
    for (;;) {
        char c;
        int s = SYS(accept(l, NULL, NULL));
        CHECK_EQ("recv", 1, SYS(recv(s, &c, 1, 0)));
        if (c == 'q')
            return;
        c++;
        CHECK_EQ("send", 1, send(s, &c, 1, 0));
        close(s);
    }
}
int main(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    pid_t kid[3];
    l = SYS(socket(AF_INET, SOCK_STREAM, 0));
    SYS(bind(l, (void *)&a, sizeof a));
    SYS(listen(l, 16));
    SYS(getsockname(l, (void *)&a, &len));
    for (int i = 0; i < 3; i++) {
        kid[i] = guest_fork(worker);
        guest_await_in(kid[i], SYS_accept);
    }
    guest_ready();
    for (int i = 0; i < 13; i++) {
        char c = 'a';
        int s = SYS(socket(AF_INET, SOCK_STREAM, 0));
        SYS(connect(s, (void *)&a, sizeof a));
        CHECK_EQ("send", 1, send(s, i < 10 ? "a" : "q", 1, 0));
        if (i < 10) {
            CHECK_EQ("recv", 1, SYS(recv(s, &c, 1, 0)));
            CHECK_EQ("answer", 'b', c);
        }
        close(s);
    }
    for (int i = 0; i < 3; i++)
        guest_reap(kid[i], 0);
    return 0;
}
