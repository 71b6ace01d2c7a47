// sched_getaffinity, priorities, limits and ioprio of another process by its pid.
#include "../guest.h"
static void child(void)
{
    nice(3);
    guest_note("child");
    guest_await("asked");
}
int main(void)
{
    // The test itself may run with another nice value.
    int base = getpriority(PRIO_PROCESS, 0), three = base > 16 ? 19 : base + 3, four = base > 15 ? 19 : base + 4;
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
    CHECK_EQ("nice", three, getpriority(PRIO_PROCESS, kid));
    SYS(setpriority(PRIO_PROCESS, kid, four));
    CHECK_EQ("nice", four, getpriority(PRIO_PROCESS, kid));
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
