// Scheduling of threads: reset-on-fork, batch, idle, deadline, round robin, each with its own.
// args: reset batch idle deadline rr nice
#include "../guest.h"
struct attr { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t runtime, deadline, period; };
static struct attr want;
static volatile int ready;
static void *run(void *x)
{
    struct attr got = {0};
    (void)x;
    want.size = sizeof want;
    if (syscall(SYS_sched_setattr, 0, &want, 0))
        SKIP("sched_setattr: %s", strerror(errno));
    ready = 1;
    guest_await_go();
    SYS(syscall(SYS_sched_getattr, 0, &got, sizeof got, 0));
    CHECK_EQ("policy", want.policy, got.policy);
    CHECK_EQ("flags", want.flags, got.flags);
    CHECK_EQ("nice", want.nice, got.nice);
    CHECK_EQ("priority", want.priority, got.priority);
    if (want.runtime) {
        CHECK_EQ("runtime", want.runtime, got.runtime);
        CHECK_EQ("deadline", want.deadline, got.deadline);
        CHECK_EQ("period", want.period, got.period);
    }
    return NULL;
}
int main(int argc, char **argv)
{
    (void)argc;
    if (guest_is(argv, "reset"))
        want.flags = 1, want.nice = 3;
    else if (guest_is(argv, "batch"))
        want.policy = SCHED_BATCH, want.nice = 5;
    else if (guest_is(argv, "idle"))
        want.policy = SCHED_IDLE, want.nice = getpriority(PRIO_PROCESS, 0);
    else if (guest_is(argv, "deadline"))
        want.policy = 6, want.runtime = 2000000, want.deadline = 20000000, want.period = 30000000;
    else if (guest_is(argv, "rr"))
        want.policy = SCHED_RR, want.priority = 7;
    else
        want.nice = 11;
    pthread_t t = guest_thread(run, NULL);
    AWAIT(ready);
    guest_ready();
    guest_join(t);
    return 0;
}
