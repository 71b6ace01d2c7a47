// A child that its parent traces: refused with a word.
#include "../guest.h"
#include <sys/ptrace.h>
static void child(void)
{
    SYS(ptrace(PTRACE_TRACEME, 0, 0, 0));
    raise(SIGSTOP);
    guest_await_go();
}
int main(void)
{
    int st;
    pid_t kid = guest_fork(child);
    CHECK_EQ("waitpid", kid, SYS(waitpid(kid, &st, 0)));
    CHECK(WIFSTOPPED(st));
    guest_ready();
    SYS(ptrace(PTRACE_CONT, kid, 0, 0));
    guest_reap(kid, 0);
    return 0;
}
