// A daemon (two forks, setsid) lives on; its parent says 1 or the subreaper, as natively.
#include "../guest.h"
int main(void)
{
    pid_t pid = SYS(fork());
    if (pid == 0) {
        SYS(setsid());
        pid_t middle = getpid();
        if (fork())
            _exit(0);
        SYS(chdir("/"));
        pid_t me = getpid(), sid = getsid(0);
        AWAIT(getppid() != middle);
        pid_t adopted = getppid();
        if (adopted != 1 && getenv("GUEST_INIT_IS_1"))
            guest_fail("getppid of a daemon, expected 1, got %d", adopted);
        guest_note("daemon");
        guest_await_go();
        CHECK_EQ("getpid", me, getpid());
        CHECK_EQ("getsid", sid, getsid(0));
        CHECK_EQ("getppid", adopted, getppid());
        guest_note("daemon.ok");
        _exit(0);
    }
    guest_reap(pid, 0);
    guest_await("daemon");
    guest_ready();
    guest_await("daemon.ok");
    return 0;
}
