// Sessions: a child's own, and one whose leader has gone.
#include "../guest.h"
int main(void)
{
    pid_t mine = getsid(0), kid = SYS(fork());
    if (kid == 0) {
        CHECK_EQ("setsid", getpid(), setsid());
        guest_note("kid");
        guest_await_go();
        CHECK_EQ("getsid", getpid(), getsid(0));
        CHECK_EQ("getpgrp", getpid(), getpgrp());
        CHECK_EQ("setsid again", -1, setsid());
        _exit(1);
    }
    pid_t maker = SYS(fork());
    if (maker == 0) {
        SYS(setsid());
        pid_t sid = getpid();
        if (fork() == 0) {
            AWAIT(getppid() != sid);
            guest_note("left");
            guest_await_go();
            CHECK_EQ("getsid", sid, getsid(0));
            CHECK_EQ("getpgrp", sid, getpgrp());
            guest_note("left.ok");
            _exit(0);
        }
        _exit(0);
    }
    guest_reap(maker, 0);
    guest_await("kid");
    guest_await("left");
    guest_ready();
    CHECK_EQ("getsid", mine, getsid(0));
    CHECK_EQ("getsid of the child", kid, getsid(kid));
    guest_reap(kid, 1);
    guest_await("left.ok");
    return 0;
}
