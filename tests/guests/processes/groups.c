// Process groups: members, a group whose leader has gone, signals to groups.
#include "../guest.h"
static volatile int hit;
static void handler(int s)
{
    (void)s;
    hit = 1;
}
static void member(void)
{
    signal(SIGUSR1, handler);
    guest_note(getpgrp() == getpid() ? "leader" : "member");
    AWAIT(hit);
    _exit(2);
}
int main(void)
{
    pid_t leader = SYS(fork());
    if (leader == 0) {
        SYS(setpgid(0, 0));
        member();
    }
    guest_await("leader");
    pid_t other = SYS(fork());
    if (other == 0) {
        SYS(setpgid(0, leader));
        member();
    }
    guest_await("member");
    pid_t gone = SYS(fork());
    if (gone == 0) {
        SYS(setpgid(0, 0));
        guest_await("joined");
        _exit(0);
    }
    AWAIT(getpgid(gone) == gone);
    pid_t left = SYS(fork());
    if (left == 0) {
        SYS(setpgid(0, gone));
        guest_note("joined");
        guest_await_go();
        CHECK_EQ("getpgrp", gone, getpgrp());
        _exit(3);
    }
    guest_reap(gone, 0);
    pid_t mine = getpgrp();
    guest_ready();
    CHECK_EQ("getpgrp", mine, getpgrp());
    CHECK_EQ("getpgid", leader, getpgid(other));
    CHECK_EQ("getpgid", leader, getpgid(leader));
    SYS(kill(-leader, SIGUSR1));
    int st;
    for (int n = 0; n < 2; n++) {
        CHECK(SYS(waitpid(-leader, &st, 0)) > 0);
        CHECK_EQ("status", 2, WEXITSTATUS(st));
    }
    guest_reap(left, 3);
    return 0;
}
