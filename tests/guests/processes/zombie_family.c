// Zombies that led a group or a session which others are still in, and a zombie whose children live on.
#include "../guest.h"
static void member(void) { guest_await_go(); }
int main(void)
{
    int st;
    SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t leader = SYS(fork());
    if (leader == 0) {
        SYS(setpgid(0, 0));
        guest_await("joined");
        _exit(1);
    }
    SYS(setpgid(leader, leader));
    pid_t joins = SYS(fork());
    if (joins == 0) {
        SYS(setpgid(0, leader));
        guest_note("joined");
        member();
        CHECK_EQ("group", leader, getpgrp());
        _exit(2);
    }
    pid_t session = SYS(fork());
    if (session == 0) {
        SYS(setsid());
        if (SYS(fork()) == 0) {
            pid_t sid = getsid(0);
            AWAIT(getppid() != sid);
            guest_note("orphan");
            member();
            CHECK_EQ("session", sid, getsid(0));
            CHECK_EQ("group", sid, getpgrp());
            _exit(3);
        }
        _exit(4);
    }
    guest_await("orphan");
    SYS(waitid(P_PID, leader, &(siginfo_t){0}, WEXITED | WNOWAIT));
    SYS(waitid(P_PID, session, &(siginfo_t){0}, WEXITED | WNOWAIT));
    guest_ready();
    CHECK_EQ("group of a zombie", leader, getpgid(leader));
    guest_reap(leader, 1);
    guest_reap(session, 4);
    guest_reap(joins, 2);
    SYS(wait(&st));
    CHECK_EQ("orphan", 3, WEXITSTATUS(st));
    return 0;
}
