// A pipe with unread data, both ends in one process; EOF after it.
#include "../guest.h"
int main(void)
{
    char buf[50000];
    int p[2], q[2];
    SYS(pipe2(p, O_CLOEXEC));
    SYS(pipe2(q, O_NONBLOCK));
    guest_fill(buf, sizeof buf, 3);
    CHECK_EQ("write", sizeof buf, write(p[1], buf, sizeof buf));
    guest_ready();
    CHECK_EQ("cloexec", FD_CLOEXEC, fcntl(p[0], F_GETFD));
    int n;
    SYS(ioctl(p[0], FIONREAD, &n));
    CHECK_EQ("FIONREAD", sizeof buf, n);
    CHECK_EQ("write", 3, write(p[1], "end", 3));
    memset(buf, 0, sizeof buf);
    CHECK_EQ("read", sizeof buf, read(p[0], buf, sizeof buf));
    guest_verify("content", buf, sizeof buf, 3);
    CHECK_EQ("read", 3, read(p[0], buf, sizeof buf));
    close(p[1]);
    CHECK_EQ("EOF", 0, read(p[0], buf, 1));
    CHECK_EQ("empty non-blocking", -1, read(q[0], buf, 1));
    CHECK_EQ("errno", EAGAIN, errno);
    return 0;
}
