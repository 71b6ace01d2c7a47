// A subreaper stays one: a grandchild orphaned after go becomes its child.
#include "../guest.h"
int main(void)
{
    int on = 0;
    SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t me = getpid(), mid = SYS(fork());
    if (mid == 0) {
        if (fork() == 0) {
            AWAIT(getppid() == me);
            _exit(21);
        }
        guest_await_go();
        _exit(20);
    }
    guest_ready();
    SYS(prctl(PR_GET_CHILD_SUBREAPER, &on));
    CHECK_EQ("subreaper", 1, on);
    guest_reap(mid, 20);
    int st;
    CHECK(SYS(wait(&st)) > 0);
    CHECK_EQ("status of the adopted", 21, WEXITSTATUS(st));
    return 0;
}
