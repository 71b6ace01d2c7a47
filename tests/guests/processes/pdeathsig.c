// PR_SET_PDEATHSIG holds: when the parent dies after go the child is told.
#include "../guest.h"
static volatile int told;
static void handler(int s)
{
    (void)s;
    told = 1;
}
int main(void)
{
    pid_t mid = SYS(fork());
    if (mid == 0) {
        if (fork() == 0) {
            int sig = 0;
            signal(SIGUSR2, handler);
            SYS(prctl(PR_SET_PDEATHSIG, SIGUSR2));
            guest_note("set");
            guest_await_go();
            SYS(prctl(PR_GET_PDEATHSIG, &sig));
            CHECK_EQ("signal", SIGUSR2, sig);
            guest_note("still");
            AWAIT(told);
            guest_note("told");
            _exit(0);
        }
        guest_await_go();
        guest_await("still");
        _exit(0);
    }
    guest_await("set");
    guest_ready();
    guest_reap(mid, 0);
    guest_await("told");
    return 0;
}
