// A session with jobs: one in the background that wants to read (SIGTTIN), one stopped, the foreground changed after; the terminal goes away at last.
#include "../guest.h"
#include <pty.h>
static volatile int hups;
static void on_hup(int s) { (void)s, hups++; }
static void job(void)
{
    char c;
    SYS(setpgid(0, 0));
    guest_note("job");
    CHECK_EQ("read", 1, SYS(read(0, &c, 1)));
    CHECK_EQ("typed", 'j', c);
}
static void leader(void)
{
    struct sigaction a = {.sa_handler = on_hup};
    int status;
    signal(SIGTTOU, SIG_IGN);
    sigaction(SIGHUP, &a, NULL);
    pid_t kid = guest_fork(job);
    CHECK_EQ("it stops", kid, SYS(waitpid(kid, &status, WUNTRACED)));
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
    guest_note("stopped");
    guest_await_go();
    CHECK_EQ("foreground", getpgrp(), tcgetpgrp(0));
    SYS(tcsetpgrp(0, kid));
    SYS(kill(kid, SIGCONT));
    guest_note("continued");
    guest_reap(kid, 0);
    SYS(tcsetpgrp(0, getpgrp()));
    guest_note("job done");
    AWAIT(hups);
    char c;
    CHECK(read(0, &c, 1) <= 0);
}
int main(void)
{
    int m;
    struct termios t;
    pid_t kid = SYS(forkpty(&m, NULL, NULL, NULL));
    if (kid == 0) {
        SYS(tcgetattr(0, &t));
        t.c_lflag &= ~(ICANON | ECHO);
        SYS(tcsetattr(0, TCSANOW, &t));
        leader();
        _exit(0);
    }
    guest_await("stopped");
    guest_ready();
    guest_await("continued");
    CHECK_EQ("type", 1, write(m, "j", 1));
    guest_await("job done");
    close(m);
    guest_reap(kid, 0);
    return 0;
}
