// A session with a controlling terminal: foreground group, ^C after go, /dev/tty.
#include "../guest.h"
#include <pty.h>
#include <utmp.h>
static volatile int hit;
static void handler(int s)
{
    (void)s;
    hit = 1;
}
static void on_tty(int s)
{
    SYS(login_tty(s));
    signal(SIGINT, handler);
    int tty = SYS(open("/dev/tty", O_RDWR));
    CHECK_EQ("tcgetpgrp", getpid(), tcgetpgrp(tty));
    guest_note("on.tty");
    guest_await_go();
    CHECK_EQ("tcgetpgrp", getpid(), tcgetpgrp(tty));
    CHECK_EQ("tcgetsid", getpid(), tcgetsid(tty));
    guest_note("looked");
    AWAIT(hit);
    pid_t kid = SYS(fork());
    if (kid == 0) {
        SYS(setpgid(0, 0));
        signal(SIGTTOU, SIG_IGN);
        SYS(tcsetpgrp(tty, getpid()));
        CHECK_EQ("tcgetpgrp", getpid(), tcgetpgrp(tty));
        _exit(0);
    }
    guest_reap(kid, 0);
    close(SYS(open("/dev/tty", O_RDWR)));
    _exit(0);
}
int main(void)
{
    int m, s, st;
    SYS(openpty(&m, &s, NULL, NULL, NULL));
    pid_t kid = SYS(fork());
    if (kid == 0) {
        close(m);
        on_tty(s);
    }
    close(s);
    guest_await("on.tty");
    guest_ready();
    guest_await("looked");
    CHECK_EQ("write", 1, write(m, "\003", 1));
    SYS(waitpid(kid, &st, 0));
    CHECK(WIFEXITED(st) && WEXITSTATUS(st) == 0);
    return 0;
}
