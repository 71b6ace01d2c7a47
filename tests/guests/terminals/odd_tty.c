// Terminals in less usual states: exclusive, an own speed, other control characters, half a line typed, hung up later, a session that gave its terminal up.
// args: exclusive speed characters half_line hangup_later given_up timed_read window_signal extproc fixed
#include "../guest.h"
#include <pty.h>
#define BOTHER 0010000
struct termios2 { tcflag_t c_iflag, c_oflag, c_cflag, c_lflag; cc_t c_line, c_cc[19]; speed_t c_ispeed, c_ospeed; };
static volatile int signals;
static void count(int sig) { (void)sig, signals++; }
int main(int argc, char **argv)
{
    CHECK(argc > 1);
    int m, s, n;
    char buf[512] = {0};
    struct termios t, now;
    SYS(openpty(&m, &s, NULL, NULL, NULL));
    SYS(tcgetattr(s, &t));
    if (guest_is(argv, "fixed")) {
        struct termios mask = {.c_iflag = ICRNL, .c_lflag = ECHO | ICANON}, none = {0}, other = t;
        if (ioctl(s, TIOCSLCKTRMIOS, &mask))
            SKIP("TIOCSLCKTRMIOS: %s", strerror(errno));
        SYS(write(m, "typed\n", 6));
        guest_ready();
        SYS(ioctl(s, TIOCGLCKTRMIOS, &now));
        CHECK_EQ("fixed input", ICRNL, now.c_iflag);
        CHECK_EQ("fixed local", ECHO | ICANON, now.c_lflag);
        other.c_lflag &= ~(ECHO | ICANON | ISIG);
        SYS(tcsetattr(s, TCSANOW, &other)), SYS(tcgetattr(s, &now));
        CHECK_EQ("local", t.c_lflag & ~ISIG, now.c_lflag);
        CHECK_EQ("typed", 6, SYS(read(s, buf, sizeof buf)));
        SYS(ioctl(s, TIOCSLCKTRMIOS, &none));
    } else if (guest_is(argv, "exclusive")) {
        SYS(ioctl(s, TIOCEXCL));
        guest_ready();
        SYS(ioctl(s, TIOCGEXCL, &n));
        CHECK_EQ("exclusive", 1, n);
        // Its number may be another one.
        CHECK_EQ("opened again", geteuid() == 0 ? 1 : 0, open(ptsname(m), O_RDWR | O_NOCTTY) >= 0);
    } else if (guest_is(argv, "speed")) {
        struct termios2 a, b;
        SYS(ioctl(s, 0x802C542A /* TCGETS2 */, &a));
        a.c_cflag = (a.c_cflag & ~CBAUD) | BOTHER | CSTOPB | PARENB, a.c_ispeed = 12345, a.c_ospeed = 54321;
        a.c_cflag |= BOTHER << 16;
        SYS(ioctl(s, 0x402C542B /* TCSETS2 */, &a)), SYS(ioctl(s, 0x802C542A, &a));
        guest_ready();
        SYS(ioctl(s, 0x802C542A, &b));
        CHECK_EQ("in", a.c_ispeed, b.c_ispeed); CHECK_EQ("out", a.c_ospeed, b.c_ospeed); CHECK_EQ("flags", a.c_cflag, b.c_cflag);
    } else if (guest_is(argv, "characters")) {
        for (int i = 0; i < NCCS; i++)
            t.c_cc[i] = i == VMIN || i == VTIME ? 3 : 'a' + i % 26;
        t.c_iflag ^= IUTF8 | IXANY | IMAXBEL | ISTRIP, t.c_oflag ^= OLCUC, t.c_lflag ^= ECHOCTL | ECHOKE | NOFLSH | TOSTOP;
        SYS(tcsetattr(s, TCSANOW, &t)), SYS(tcgetattr(s, &t));
        guest_ready();
        SYS(tcgetattr(m, &now));
        CHECK(memcmp(t.c_cc, now.c_cc, sizeof t.c_cc) == 0);
        CHECK_EQ("i", t.c_iflag, now.c_iflag); CHECK_EQ("o", t.c_oflag, now.c_oflag); CHECK_EQ("l", t.c_lflag, now.c_lflag); CHECK_EQ("c", t.c_cflag, now.c_cflag);
    } else if (guest_is(argv, "half_line")) {
        SYS(write(m, "first\nsec", 9));
        guest_ready();
        CHECK_EQ("whole line", 6, SYS(read(s, buf, 100)));
        fcntl(s, F_SETFL, O_NONBLOCK);
        CHECK_EQ("half a line", -1, read(s, buf, 100));
        SYS(write(m, "\177ond\n", 5));
        CHECK_EQ("with a letter taken back", 6, SYS(read(s, buf, 100)));
        CHECK(!memcmp(buf, "seond\n", 6));
    } else if (guest_is(argv, "hangup_later") || guest_is(argv, "given_up")) {
        pid_t kid = SYS(fork());
        if (kid == 0) {
            struct sigaction act = {.sa_handler = count};
            SYS(sigaction(SIGHUP, &act, NULL));
            close(m);
            SYS(setsid()), SYS(ioctl(s, TIOCSCTTY, 0));
            if (guest_is(argv, "given_up"))
                SYS(ioctl(s, TIOCNOTTY));
            signals = 0;
            guest_note("settled");
            guest_await("closed");
            if (guest_is(argv, "given_up")) {
                CHECK_EQ("no terminal", -1, open("/dev/tty", O_RDWR));
                for (int i = 0; i < 20; i++)
                    guest_nap();
                _exit(signals);
            }
            AWAIT(signals);
            CHECK_EQ("at the end", 0, read(s, buf, 1));
            _exit(0);
        }
        guest_await("settled");
        guest_ready();
        close(s), close(m);
        guest_note("closed");
        guest_reap(kid, 0);
    } else if (guest_is(argv, "timed_read")) {
        cfmakeraw(&t);
        t.c_cc[VMIN] = 0, t.c_cc[VTIME] = 3;
        SYS(tcsetattr(s, TCSANOW, &t));
        guest_ready();
        CHECK_EQ("nothing in time", 0, SYS(read(s, buf, 9)));
        SYS(write(m, "ab", 2));
        CHECK_EQ("at once", 2, SYS(read(s, buf, 9)));
    } else if (guest_is(argv, "window_signal")) {
        pid_t kid = SYS(fork());
        if (kid == 0) {
            signal(SIGWINCH, count);
            SYS(setsid()), SYS(ioctl(s, TIOCSCTTY, 0));
            guest_note("settled");
            guest_await("resized");
            AWAIT(signals);
            struct winsize w;
            SYS(ioctl(s, TIOCGWINSZ, &w));
            _exit(w.ws_row);
        }
        guest_await("settled");
        guest_ready();
        struct winsize w = {33, 77, 0, 0};
        SYS(ioctl(m, TIOCSWINSZ, &w));
        guest_note("resized");
        guest_reap(kid, 33);
    } else {
        t.c_lflag |= EXTPROC;
        SYS(tcsetattr(s, TCSANOW, &t));
        guest_ready();
        SYS(tcgetattr(s, &now));
        CHECK_EQ("external", EXTPROC, now.c_lflag & EXTPROC);
        SYS(write(m, "x", 1));
        CHECK_EQ("as it comes", 1, SYS(read(s, buf, 9)));
    }
    return 0;
}
