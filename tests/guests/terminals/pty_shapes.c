// Pseudo terminals: several slaves, no slave yet, a hung-up slave, the master gone, window change, raw bytes, special characters, many, locked, exclusive.
// args: slaves no_slave master_gone winsize bytes many locked stopped_output packet_events echo eof
#include "../guest.h"
#include <pty.h>
int main(int argc, char **argv)
{
    (void)argc;
    int m, s;
    char name[64], buf[4096] = {0};
    struct termios t, got;
    SYS(openpty(&m, &s, name, NULL, NULL));
    SYS(tcgetattr(s, &t));
    if (guest_is(argv, "slaves")) {
        int s2 = SYS(open(name, O_RDWR | O_NOCTTY | O_NONBLOCK)), s3 = SYS(open(name, O_WRONLY | O_NOCTTY));
        guest_ready();
        CHECK_EQ("non-blocking", O_NONBLOCK, fcntl(s2, F_GETFL) & O_NONBLOCK);
        CHECK_EQ("blocking", 0, fcntl(s, F_GETFL) & O_NONBLOCK);
        CHECK_EQ("write only", O_WRONLY, fcntl(s3, F_GETFL) & O_ACCMODE);
        SYS(write(s3, "three\n", 6));
        CHECK_EQ("read", 7, SYS(read(m, buf, 64)));
        SYS(write(m, "line\n", 5));
        CHECK_EQ("read", 5, SYS(read(s, buf, 64)));
        CHECK_EQ("read by one", -1, read(s2, buf, 64));
    } else if (guest_is(argv, "no_slave")) {
        int n = SYS(posix_openpt(O_RDWR | O_NOCTTY));
        SYS(grantpt(n)), SYS(unlockpt(n));
        strcpy(name, ptsname(n));
        guest_ready();
        CHECK_EQ("not hung up", 0, poll(&(struct pollfd){n, POLLIN, 0}, 1, 0));
        strcpy(name, ptsname(n));
        int o = SYS(open(name, O_RDWR | O_NOCTTY));
        SYS(write(o, "x", 1));
        CHECK_EQ("read", 1, SYS(read(n, buf, 64)));
    } else if (guest_is(argv, "master_gone")) {
        close(m);
        guest_ready();
        CHECK_EQ("end", 0, read(s, buf, 64));
        CHECK_EQ("write", -1, write(s, "x", 1));
        CHECK_EQ("error", EIO, (write(s, "x", 1), errno));
        struct stat st;
        SYS(fstat(s, &st));
        CHECK(S_ISCHR(st.st_mode));
    } else if (guest_is(argv, "winsize")) {
        struct winsize w = {50, 132, 600, 900}, now;
        SYS(ioctl(s, TIOCSWINSZ, &w));
        guest_ready();
        SYS(ioctl(m, TIOCGWINSZ, &now));
        CHECK(memcmp(&w, &now, sizeof w) == 0);
    } else if (guest_is(argv, "bytes")) {
        // Every byte value, typed in raw mode and printed without processing.
        cfmakeraw(&t);
        SYS(tcsetattr(s, TCSANOW, &t));
        unsigned char all[256];
        for (int i = 0; i < 256; i++)
            all[i] = i;
        CHECK_EQ("write", 256, write(m, all, 256)); CHECK_EQ("write", 256, write(s, all, 256));
        guest_ready();
        for (int at = 0; at < 256;)
            at += SYS(read(s, buf + at, 256 - at));
        CHECK_EQ("typed", 0, memcmp(buf, all, 256));
        for (int at = 0; at < 256;)
            at += SYS(read(m, buf + at, 256 - at));
        CHECK_EQ("printed", 0, memcmp(buf, all, 256));
    } else if (guest_is(argv, "many")) {
        int ms[20], ss[20];
        char names[20][64];
        for (int i = 0; i < 20; i++) {
            SYS(openpty(&ms[i], &ss[i], names[i], NULL, NULL));
            buf[0] = 'a' + i;
            SYS(write(ss[i], buf, 1));
        }
        guest_ready();
        for (int i = 0; i < 20; i++) {
            CHECK_EQ("read", 1, SYS(read(ms[i], buf, 64)));
            CHECK_EQ("byte", 'a' + i, buf[0]);
            strcpy(names[i], ptsname(ms[i]));
            for (int j = 0; j < i; j++)
                CHECK(strcmp(names[i], names[j]));
        }
    } else if (guest_is(argv, "locked")) {
        int n = SYS(posix_openpt(O_RDWR | O_NOCTTY));
        strcpy(name, ptsname(n));
        guest_ready();
        strcpy(name, ptsname(n));
        CHECK_EQ("locked", -1, open(name, O_RDWR | O_NOCTTY));
        SYS(unlockpt(n));
        close(SYS(open(name, O_RDWR | O_NOCTTY)));
    } else if (guest_is(argv, "stopped_output")) {
        // ^S was typed: what is printed waits.
        SYS(tcflow(s, TCOOFF));
        SYS(fcntl(s, F_SETFL, O_NONBLOCK));
        CHECK_EQ("stopped", -1, write(s, "x", 1));
        guest_ready();
        CHECK_EQ("stopped", -1, write(s, "x", 1));
        SYS(tcflow(s, TCOON));
        CHECK_EQ("on", 1, write(s, "x", 1));
        CHECK_EQ("read", 1, SYS(read(m, buf, 64)));
    } else if (guest_is(argv, "packet_events")) {
        SYS(ioctl(m, TIOCPKT, &(int){1}));
        SYS(write(s, "data", 4));
        guest_ready();
        int on;
        SYS(ioctl(m, TIOCGPKT, &on));
        CHECK_EQ("packet mode", 1, on);
        CHECK_EQ("read", 5, SYS(read(m, buf, 64)));
        CHECK_EQ("data follows", TIOCPKT_DATA, buf[0]);
    } else if (guest_is(argv, "echo")) {
        t.c_lflag |= ECHO | ICANON;
        t.c_cc[VERASE] = '#';
        SYS(tcsetattr(s, TCSANOW, &t));
        SYS(write(m, "abx#c\nhalf", 10));
        guest_ready();
        CHECK_EQ("a line", 4, SYS(read(s, buf, 64)));
        CHECK(memcmp(buf, "abc\n", 4) == 0);
        SYS(write(m, "#F\n", 3));
        CHECK_EQ("the rest", 5, SYS(read(s, buf, 64)));
        CHECK(memcmp(buf, "halF\n", 5) == 0);
        SYS(tcgetattr(m, &got));
        CHECK_EQ("VERASE", '#', got.c_cc[VERASE]);
    } else {
        // ^D ends the line before it, and once more the file.
        SYS(write(m, "ab\004\004cd\n", 7));
        guest_ready();
        CHECK_EQ("up to ^D", 2, SYS(read(s, buf, 64)));
        CHECK_EQ("end", 0, SYS(read(s, buf, 64)));
        CHECK_EQ("goes on", 3, SYS(read(s, buf, 64)));
    }
    return 0;
}
