// The wait family: by pid, by group, any, WNOHANG, waitid with siginfo, wait4 with usage.
#include "../guest.h"
static void child(void)
{
    guest_await_go();
    _exit(12);
}
int main(void)
{
    siginfo_t i;
    struct rusage u;
    int st;
    pid_t p[5];
    for (int n = 0; n < 5; n++)
        p[n] = guest_fork(child);
    SYS(setpgid(p[4], p[4]));
    CHECK_EQ("WNOHANG", 0, waitpid(p[0], &st, WNOHANG));
    guest_ready();
    CHECK_EQ("waitpid", p[0], SYS(waitpid(p[0], &st, 0)));
    CHECK_EQ("status", 12, WEXITSTATUS(st));
    SYS(waitid(P_PID, p[1], &i, WEXITED));
    CHECK_EQ("si_pid", p[1], i.si_pid);
    CHECK_EQ("si_status", 12, i.si_status);
    CHECK_EQ("si_code", CLD_EXITED, i.si_code);
    CHECK_EQ("wait4", p[2], SYS(wait4(p[2], &st, 0, &u)));
    SYS(waitid(P_PGID, p[4], &i, WEXITED));
    CHECK_EQ("by group", p[4], i.si_pid);
    CHECK_EQ("any", p[3], SYS(wait3(&st, 0, &u)));
    CHECK_EQ("none", -1, waitpid(p[3], &st, 0));
    CHECK_EQ("errno", ECHILD, errno);
    return 0;
}
