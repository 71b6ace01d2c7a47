// A pipe whose writer is closed, with data left; one whose reader is closed.
#include "../guest.h"
int main(void)
{
    char buf[8];
    int p[2], q[2];
    SYS(pipe(p));
    SYS(pipe(q));
    CHECK_EQ("write", 2, write(p[1], "ab", 2));
    close(p[1]);
    close(q[0]);
    signal(SIGPIPE, SIG_IGN);
    guest_ready();
    CHECK_EQ("read", 2, read(p[0], buf, 8));
    CHECK_EQ("EOF", 0, read(p[0], buf, 8));
    CHECK_EQ("write without reader", -1, write(q[1], "x", 1));
    CHECK_EQ("errno", EPIPE, errno);
    struct pollfd f = {.fd = p[0], .events = POLLIN};
    CHECK_EQ("poll", 1, poll(&f, 1, 0));
    CHECK(f.revents & POLLHUP);
    return 0;
}
