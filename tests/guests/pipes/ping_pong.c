// Two processes pass numbers back and forth through pipes all the time; a third streams checked data.
#include "../guest.h"
static int a[2], b[2], s[2];
static void echo(void)
{
    int n;
    close(a[1]);
    close(b[0]);
    close(s[0]);
    close(s[1]);
    while (SYS(read(a[0], &n, 4)) == 4) {
        n++;
        CHECK_EQ("write", 4, write(b[1], &n, 4));
    }
}
static void stream(void)
{
    unsigned char chunk[777], c = 0;
    close(s[0]);
    close(a[1]);
    while (!guest_going()) {
        for (unsigned i = 0; i < sizeof chunk; i++)
            chunk[i] = c++;
        CHECK_EQ("write", sizeof chunk, write(s[1], chunk, sizeof chunk));
    }
}
static void *drain(void *x)
{
    unsigned char buf[1000], c = 0;
    ssize_t n;
    (void)x;
    while ((n = SYS(read(s[0], buf, sizeof buf))) > 0)
        for (int i = 0; i < n; i++)
            if (buf[i] != c++)
                guest_fail("stream, expected %d, got %d", (unsigned char)(c - 1), buf[i]);
    return NULL;
}
static volatile long rounds;
static void *player(void *x)
{
    int n = 0, m;
    (void)x;
    while (!guest_going()) {
        CHECK_EQ("write", 4, write(a[1], &n, 4));
        CHECK_EQ("read", 4, SYS(read(b[0], &m, 4)));
        CHECK_EQ("answer", n + 1, m);
        n = m;
        rounds++;
    }
    return NULL;
}
int main(void)
{
    SYS(pipe(a));
    SYS(pipe(b));
    SYS(pipe(s));
    pid_t e = guest_fork(echo), w = guest_fork(stream);
    close(a[0]);
    close(b[1]);
    close(s[1]);
    pthread_t t = guest_thread(player, NULL), d = guest_thread(drain, NULL);
    AWAIT(rounds > 10);
    guest_ready();
    guest_join(t);
    close(a[1]);
    guest_reap(w, 0);
    guest_join(d);
    guest_reap(e, 0);
    return 0;
}
