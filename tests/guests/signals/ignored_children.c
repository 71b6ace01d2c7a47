// Children of a parent that ignores SIGCHLD are reaped by the kernel, after go too.
#include "../guest.h"
static void child(void) { guest_await_go(); }
int main(void)
{
    signal(SIGCHLD, SIG_IGN);
    pid_t pid = guest_fork(child);
    guest_ready();
    CHECK_EQ("waitpid", -1, waitpid(pid, NULL, 0));
    CHECK_EQ("errno", ECHILD, errno);
    return 0;
}
