// A child blocked writing to a full pipe, another blocked reading from an empty one.
#include "../guest.h"
static int full[2], empty[2];
static char big[300000];
static void writer(void)
{
    close(full[0]);
    guest_fill(big, sizeof big, 4);
    CHECK_EQ("write", sizeof big, write(full[1], big, sizeof big));
}
static void reader(void)
{
    char c;
    close(empty[1]);
    CHECK_EQ("read", 1, read(empty[0], &c, 1));
    CHECK_EQ("byte", 'q', c);
}
int main(void)
{
    SYS(pipe(full));
    SYS(pipe(empty));
    pid_t w = guest_fork(writer), r = guest_fork(reader);
    guest_await_in(w, SYS_write);
    guest_await_in(r, SYS_read);
    close(full[1]);
    guest_ready();
    ssize_t n, got = 0;
    while ((n = SYS(read(full[0], big + got, sizeof big - got))) > 0)
        got += n;
    CHECK_EQ("length", sizeof big, got);
    guest_verify("content", big, sizeof big, 4);
    CHECK_EQ("write", 1, write(empty[1], "q", 1));
    guest_reap(w, 0);
    guest_reap(r, 0);
    return 0;
}
