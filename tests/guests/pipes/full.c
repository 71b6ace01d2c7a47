// Full pipes of default and of set size; not one byte more fits after.
#include "../guest.h"
static void fill(int fd, char *buf, size_t len)
{
    CHECK_EQ("fill", len, write(fd, buf, len));
    CHECK_EQ("one more", -1, write(fd, buf, 1));
    CHECK_EQ("errno", EAGAIN, errno);
}
int main(void)
{
    static char big[1 << 20], back[1 << 20];
    int p[2], q[2];
    SYS(pipe2(p, O_NONBLOCK));
    SYS(pipe2(q, O_NONBLOCK));
    int size = SYS(fcntl(q[1], F_SETPIPE_SZ, 1 << 18)), normal = SYS(fcntl(p[1], F_GETPIPE_SZ));
    guest_fill(big, sizeof big, 1);
    fill(p[1], big, normal);
    fill(q[1], big, size);
    guest_ready();
    CHECK_EQ("size", size, fcntl(q[0], F_GETPIPE_SZ));
    CHECK_EQ("size", normal, fcntl(p[0], F_GETPIPE_SZ));
    CHECK_EQ("one more", -1, write(q[1], big, 1));
    CHECK_EQ("read", normal, read(p[0], back, sizeof back));
    guest_verify("content", back, normal, 1);
    CHECK_EQ("read", size, read(q[0], back, sizeof back));
    guest_verify("content", back, size, 1);
    fill(p[1], big, normal);
    return 0;
}
