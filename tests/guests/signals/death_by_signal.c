// Children that die by a signal after go report it.
#include "../guest.h"
static void aborts(void)
{
    guest_await_go();
    abort();
}
static void faults(void)
{
    guest_await_go();
    *(volatile int *)8 = 1;
}
static void waits(void)
{
    for (;;)
        pause();
}
static void expect(pid_t pid, int sig)
{
    int st;
    CHECK_EQ("waitpid", pid, SYS(waitpid(pid, &st, 0)));
    CHECK(WIFSIGNALED(st));
    CHECK_EQ("signal", sig, WTERMSIG(st));
}
int main(void)
{
    struct rlimit no_core = {0, 0};
    SYS(setrlimit(RLIMIT_CORE, &no_core));
    pid_t a = guest_fork(aborts), b = guest_fork(faults), c = guest_fork(waits);
    guest_ready();
    expect(a, SIGABRT);
    expect(b, SIGSEGV);
    SYS(kill(c, SIGTERM));
    expect(c, SIGTERM);
    return 0;
}
