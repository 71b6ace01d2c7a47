// pidfds of a live child, of a zombie and of the process itself.
#include "../guest.h"
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
static void lives(void)
{
    guest_await_go();
    for (;;)
        pause();
}
static void ends(void) { _exit(6); }
int main(void)
{
    siginfo_t i;
    pid_t a = guest_fork(lives), b = guest_fork(ends);
    int fa = SYS(syscall(SYS_pidfd_open, a, 0)), fb = SYS(syscall(SYS_pidfd_open, b, 0)),
        fs = SYS(syscall(SYS_pidfd_open, getpid(), 0));
    struct pollfd p[2] = {{.fd = fb, .events = POLLIN}, {.fd = fa, .events = POLLIN}};
    CHECK_EQ("poll", 1, poll(p, 1, -1));
    guest_ready();
    CHECK_EQ("poll", 1, SYS(poll(p, 2, 0)));
    CHECK_EQ("zombie readable", POLLIN, p[0].revents);
    SYS(syscall(SYS_pidfd_send_signal, fs, 0, NULL, 0));
    SYS(syscall(SYS_pidfd_send_signal, fa, SIGKILL, NULL, 0));
    CHECK_EQ("poll", 1, SYS(poll(p + 1, 1, -1)));
    SYS(waitid(P_PIDFD, fa, &i, WEXITED));
    CHECK_EQ("si_pid", a, i.si_pid);
    CHECK_EQ("si_status", SIGKILL, i.si_status);
    guest_reap(b, 6);
    return 0;
}
