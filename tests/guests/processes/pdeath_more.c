// The parent's death signal: after, the parent ends and the child gets its signal; also over a group and a session.
#include "../guest.h"
static volatile int hit;
static void on_usr2(int s) { (void)s, hit++; }
static void grandchild(void)
{
    signal(SIGUSR2, on_usr2);
    SYS(prctl(PR_SET_PDEATHSIG, SIGUSR2));
    SYS(setsid());
    guest_note("armed");
    AWAIT(hit);
    guest_note("told");
}
static void parent(void)
{
    guest_fork(grandchild);
    guest_await("armed");
    guest_await_go();
}
int main(void)
{
    SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t kid = guest_fork(parent);
    guest_await("armed");
    guest_ready();
    guest_reap(kid, 0);
    guest_await("told");
    SYS(wait(NULL));
    return 0;
}
