// F_SETOWN to a child and to a group, F_SETOWN_EX to a thread.
#include "../guest.h"
static void child(void) { guest_await_go(); }
int main(void)
{
    int s[2];
    pid_t kid = guest_fork(child);
    struct f_owner_ex ex = {F_OWNER_TID, gettid()}, got;
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    int p = SYS(dup(s[0]));
    SYS(fcntl(s[0], F_SETOWN, kid));
    SYS(fcntl(s[1], F_SETOWN_EX, &ex));
    int q[2];
    SYS(pipe(q));
    SYS(fcntl(q[0], F_SETOWN, -getpgrp()));
    guest_ready();
    CHECK_EQ("F_GETOWN", kid, fcntl(s[0], F_GETOWN));
    CHECK_EQ("F_GETOWN of a dup", kid, fcntl(p, F_GETOWN));
    SYS(fcntl(s[1], F_GETOWN_EX, &got));
    CHECK_EQ("type", F_OWNER_TID, got.type);
    CHECK_EQ("tid", gettid(), got.pid);
    SYS(fcntl(q[0], F_GETOWN_EX, &got));
    CHECK_EQ("type", F_OWNER_PGRP, got.type);
    CHECK_EQ("group", getpgrp(), got.pid);
    guest_reap(kid, 0);
    return 0;
}
