// sched_getaffinity, priorities, limits and ioprio of another process by its pid.
#include "../guest.h"
static void child(void)
{
    SYS(nice(3));
    guest_note("child");
    guest_await("asked");
}
int main(void)
{
    cpu_set_t a, b;
    struct rlimit lim;
    struct sched_param p;
    pid_t kid = guest_fork(child);
    guest_await("child");
    SYS(sched_getaffinity(kid, sizeof a, &a));
    guest_ready();
    SYS(sched_getaffinity(kid, sizeof b, &b));
    CHECK(CPU_EQUAL(&a, &b));
    SYS(sched_setaffinity(kid, sizeof a, &a));
    CHECK_EQ("nice", 3, getpriority(PRIO_PROCESS, kid));
    SYS(setpriority(PRIO_PROCESS, kid, 4));
    CHECK_EQ("nice", 4, getpriority(PRIO_PROCESS, kid));
    CHECK_EQ("policy", SCHED_OTHER, SYS(sched_getscheduler(kid)));
    SYS(sched_getparam(kid, &p));
    SYS(prlimit(kid, RLIMIT_NOFILE, NULL, &lim));
    SYS(syscall(SYS_ioprio_get, 1, kid));
    CHECK_EQ("getsid", getsid(0), getsid(kid));
    CHECK_EQ("getpgid", getpgrp(), getpgid(kid));
    guest_note("asked");
    guest_reap(kid, 0);
    return 0;
}
