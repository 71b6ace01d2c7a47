// An orphan's parent is init, before and after.
#include "../guest.h"
int main(void)
{
    pid_t pid = SYS(fork());
    if (pid == 0) {
        pid_t parent = getpid();
        if (fork())
            _exit(0);
        AWAIT(getppid() != parent);
        if (getppid() != 1 && getenv("GUEST_INIT_IS_1"))
            guest_fail("getppid of an orphan, expected 1, got %d", getppid());
        pid_t adopted = getppid();
        guest_note("orphan");
        guest_await_go();
        CHECK_EQ("getppid", adopted, getppid());
        guest_note("orphan.ok");
        _exit(0);
    }
    guest_reap(pid, 0);
    CHECK_EQ("not a child", -1, waitpid(-1, NULL, 0));
    guest_await("orphan");
    guest_ready();
    guest_await("orphan.ok");
    return 0;
}
