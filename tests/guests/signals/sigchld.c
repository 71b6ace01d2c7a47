// SIGCHLD after go carries the child's pid and status.
#include "../guest.h"
static volatile pid_t who;
static volatile int status, code;
static void handler(int s, siginfo_t *i, void *c)
{
    (void)s, (void)c;
    status = i->si_status;
    code = i->si_code;
    who = i->si_pid;
}
static void child(void)
{
    guest_await_go();
    _exit(9);
}
int main(void)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    SYS(sigaction(SIGCHLD, &sa, NULL));
    pid_t pid = guest_fork(child);
    guest_ready();
    AWAIT(who);
    CHECK_EQ("si_pid", pid, who);
    CHECK_EQ("si_status", 9, status);
    CHECK_EQ("si_code", CLD_EXITED, code);
    guest_reap(pid, 9);
    return 0;
}
