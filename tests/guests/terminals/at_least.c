// A read of a terminal that is to bring at least five bytes (VMIN) has taken three when the checkpoint comes: it goes on to five.
#include "../guest.h"
#include <pty.h>
static int master, slave, taken[2];
static void reader(void)
{
    char got[10];
    for (int i = 0; i < 2; i++) {
        CHECK_EQ("at least", 5, SYS(read(slave, got, sizeof got)));
        CHECK(!memcmp(got, i ? "fghij" : "abcde", 5));
        CHECK_EQ("taken", 1, SYS(write(taken[1], "x", 1)));
    }
}
int main(void)
{
    struct termios t;
    char c;
    SYS(pipe(taken));
    SYS(openpty(&master, &slave, NULL, NULL, NULL));
    SYS(tcgetattr(slave, &t));
    cfmakeraw(&t);
    t.c_cc[VMIN] = 5, t.c_cc[VTIME] = 0;
    SYS(tcsetattr(slave, TCSANOW, &t));
    pid_t kid = guest_fork(reader);
    SYS(write(master, "abc", 3));
    guest_await_in(kid, SYS_read);
    for (int unread = 1; unread; guest_nap())
        SYS(ioctl(slave, FIONREAD, &unread));
    guest_ready();
    SYS(write(master, "de", 2));
    // More would come along in the same read while it is on its way out.
    CHECK_EQ("first", 1, SYS(read(taken[0], &c, 1)));
    SYS(write(master, "fgh", 3));
    SYS(write(master, "ij", 2));
    guest_reap(kid, 0);
    return 0;
}
