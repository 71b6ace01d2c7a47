// setpgid, setsid and new groups after go, with the ids known before.
#include "../guest.h"
static void child(void)
{
    guest_await("moved");
    CHECK_EQ("getpgrp", getpid(), getpgrp());
    CHECK_EQ("setsid of a leader", -1, setsid());
    pid_t grand = SYS(fork());
    if (grand == 0) {
        CHECK_EQ("setsid", getpid(), SYS(setsid()));
        CHECK_EQ("getsid", getpid(), getsid(0));
        _exit(0);
    }
    guest_reap(grand, 0);
}
int main(void)
{
    pid_t kid = guest_fork(child);
    guest_ready();
    SYS(setpgid(kid, kid));
    CHECK_EQ("getpgid", kid, getpgid(kid));
    guest_note("moved");
    guest_reap(kid, 0);
    return 0;
}
