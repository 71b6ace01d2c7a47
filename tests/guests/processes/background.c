// The first process has exited before; what it left runs on and is checkpointed.
// detached: the rest of the computation says ready and ok
#include "../guest.h"
int main(void)
{
    pid_t me = getpid();
    if (fork() == 0) {
        AWAIT(getppid() != me);
        pid_t kid = SYS(fork());
        if (kid == 0) {
            guest_await_go();
            _exit(9);
        }
        guest_ready();
        guest_reap(kid, 9);
        guest_note("ok");
        _exit(0);
    }
    return 0;
}
