// A child stopped by SIGSTOP is still stopped after, runs on at SIGCONT, and the wait family reports it.
#include "../guest.h"
static void child(void)
{
    guest_note("child");
    for (volatile int i = 0; !guest_noted("end"); i++)
        guest_nap();
}
int main(void)
{
    int st;
    pid_t pid = guest_fork(child);
    guest_await("child");
    SYS(kill(pid, SIGSTOP));
    CHECK_EQ("waitpid", pid, SYS(waitpid(pid, &st, WUNTRACED)));
    CHECK(WIFSTOPPED(st) && WSTOPSIG(st) == SIGSTOP);
    guest_ready();
    AWAIT(guest_state(pid) == 'T');
    CHECK_EQ("nothing to report", 0, waitpid(pid, &st, WNOHANG | WCONTINUED));
    guest_note("end");
    SYS(kill(pid, SIGCONT));
    CHECK_EQ("waitpid", pid, SYS(waitpid(pid, &st, WCONTINUED)));
    if (WIFCONTINUED(st))
        CHECK_EQ("waitpid", pid, SYS(waitpid(pid, &st, 0)));
    CHECK(WIFEXITED(st) && WEXITSTATUS(st) == 0);
    return 0;
}
