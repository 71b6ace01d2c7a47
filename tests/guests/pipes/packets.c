// Packet mode (O_DIRECT): boundaries of unread packets hold.
#include "../guest.h"
int main(void)
{
    char buf[100];
    int p[2];
    SYS(pipe2(p, O_DIRECT));
    for (int i = 1; i <= 5; i++)
        CHECK_EQ("write", i * 3, write(p[1], "abcdefghijklmnopq", i * 3));
    guest_ready();
    CHECK_EQ("flag", O_DIRECT, fcntl(p[1], F_GETFL) & O_DIRECT);
    for (int i = 1; i <= 5; i++)
        CHECK_EQ("packet", i * 3, read(p[0], buf, sizeof buf));
    CHECK_EQ("write", 1, write(p[1], "x", 1));
    CHECK_EQ("write", 1, write(p[1], "y", 1));
    CHECK_EQ("packet", 1, read(p[0], buf, sizeof buf));
    return 0;
}
