// Zombies keep pid and status until they are waited for after go.
#include "../guest.h"
static void exits(void) { _exit(33); }
static void dies(void) { raise(SIGTERM); }
int main(void)
{
    siginfo_t i;
    int st;
    pid_t a = guest_fork(exits), b = guest_fork(dies);
    AWAIT(guest_state(a) == 'Z' && guest_state(b) == 'Z');
    guest_ready();
    CHECK_EQ("state", 'Z', guest_state(a));
    SYS(kill(a, 0));
    SYS(waitid(P_PID, a, &i, WEXITED | WNOWAIT));
    CHECK_EQ("si_pid", a, i.si_pid);
    CHECK_EQ("si_status", 33, i.si_status);
    CHECK_EQ("si_uid", getuid(), i.si_uid);
    guest_reap(a, 33);
    CHECK_EQ("waitpid", b, SYS(waitpid(-1, &st, 0)));
    CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGTERM);
    CHECK_EQ("nothing left", -1, wait(&st));
    return 0;
}
