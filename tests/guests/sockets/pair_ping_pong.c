// Parent and child exchange checked messages over a socketpair all the time.
// args: stream dgram seqpacket
#include "../guest.h"
static int s[2];
static void child(void)
{
    unsigned m[8];
    close(s[0]);
    while (recv(s[1], m, sizeof m, MSG_WAITALL) == sizeof m && m[0] != ~0u) {
        for (int i = 0; i < 8; i++)
            m[i] += i;
        CHECK_EQ("send", sizeof m, send(s[1], m, sizeof m, 0));
    }
}
static volatile long rounds;
static void *play(void *x)
{
    unsigned m[8], n = 0;
    (void)x;
    while (!guest_going()) {
        for (int i = 0; i < 8; i++)
            m[i] = n * i;
        m[0] = n % 1000;
        CHECK_EQ("send", sizeof m, send(s[0], m, sizeof m, 0));
        CHECK_EQ("recv", sizeof m, SYS(recv(s[0], m, sizeof m, MSG_WAITALL)));
        for (int i = 1; i < 8; i++)
            CHECK_EQ("answer", (unsigned)(n * i + i), m[i]);
        n++;
        rounds++;
    }
    return NULL;
}
int main(int argc, char **argv)
{
    (void)argc;
    int type = guest_is(argv, "stream") ? SOCK_STREAM : guest_is(argv, "dgram") ? SOCK_DGRAM : SOCK_SEQPACKET;
    SYS(socketpair(AF_UNIX, type, 0, s));
    pid_t kid = guest_fork(child);
    close(s[1]);
    pthread_t t = guest_thread(play, NULL);
    AWAIT(rounds > 10);
    guest_ready();
    guest_join(t);
    unsigned end[8] = {~0u};
    CHECK_EQ("send", sizeof end, send(s[0], end, sizeof end, 0));
    guest_reap(kid, 0);
    return 0;
}
