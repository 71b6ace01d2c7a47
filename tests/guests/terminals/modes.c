// Canonical input half typed, packet mode, exclusive mode, a pty whose other side is closed.
#include "../guest.h"
#include <pty.h>
int main(void)
{
    int m, s, pm, ps, hm, hs;
    char buf[32];
    SYS(openpty(&m, &s, NULL, NULL, NULL));
    SYS(openpty(&pm, &ps, NULL, NULL, NULL));
    SYS(openpty(&hm, &hs, NULL, NULL, NULL));
    struct termios t;
    SYS(tcgetattr(s, &t));
    t.c_lflag &= ~ECHO;
    SYS(tcsetattr(s, TCSANOW, &t));
    CHECK_EQ("write", 8, write(m, "line\nhal", 8));
    SYS(ioctl(pm, TIOCPKT, &(int){1}));
    close(hm);
    guest_ready();
    CHECK_EQ("line", 5, read(s, buf, sizeof buf));
    CHECK_EQ("write", 2, write(m, "f\n", 2));
    CHECK_EQ("rest", 5, read(s, buf, sizeof buf));
    CHECK(memcmp(buf, "half\n", 5) == 0);
    CHECK_EQ("write", 1, write(ps, "p", 1));
    CHECK_EQ("packet", 2, read(pm, buf, sizeof buf));
    CHECK_EQ("packet header", 0, buf[0]);
    CHECK_EQ("hung up", 0, read(hs, buf, 1));
    return 0;
}
