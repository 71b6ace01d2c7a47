// A pty pair: settings, window size, queued input and output.
#include "../guest.h"
#include <pty.h>
int main(void)
{
    int m, s;
    char name[64], now[64], buf[64];
    struct termios t, got;
    struct winsize w = {33, 99, 0, 0}, w2;
    SYS(openpty(&m, &s, name, NULL, &w));
    SYS(tcgetattr(s, &t));
    t.c_lflag &= ~(ECHO | ICANON);
    t.c_cc[VMIN] = 1;
    t.c_cc[VINTR] = 7;
    t.c_oflag &= ~OPOST;
    SYS(tcsetattr(s, TCSANOW, &t));
    SYS(tcgetattr(s, &t));
    CHECK_EQ("write", 5, write(m, "input", 5));
    CHECK_EQ("write", 6, write(s, "output", 6));
    guest_ready();
    SYS(tcgetattr(s, &got));
    CHECK_EQ("lflag", t.c_lflag, got.c_lflag);
    CHECK_EQ("oflag", t.c_oflag, got.c_oflag);
    CHECK_EQ("iflag", t.c_iflag, got.c_iflag);
    CHECK_EQ("cflag", t.c_cflag, got.c_cflag);
    CHECK_EQ("VINTR", 7, got.c_cc[VINTR]);
    SYS(ioctl(s, TIOCGWINSZ, &w2));
    CHECK_EQ("rows", 33, w2.ws_row);
    CHECK_EQ("columns", 99, w2.ws_col);
    CHECK_EQ("read", 5, read(s, buf, sizeof buf));
    CHECK(memcmp(buf, "input", 5) == 0);
    CHECK_EQ("read", 6, read(m, buf, sizeof buf));
    CHECK(memcmp(buf, "output", 6) == 0);
    CHECK_EQ("isatty", 1, isatty(s));
    PT(ttyname_r(s, now, sizeof now));
    CHECK_STR("name", name, now);
    CHECK_STR("ptsname", name, ptsname(m));
    close(SYS(open(name, O_RDWR | O_NOCTTY)));
    return 0;
}
