// Forty generations, each waits for its child; every other one has left its parent's group.
#include "../guest.h"
static int depth;
static void generation(void)
{
    pid_t kid = 0;
    if (depth % 2)
        SYS(setpgid(0, 0));
    if (++depth < 40)
        kid = guest_fork(generation);
    else
        guest_note("bottom");
    guest_await_go();
    if (kid)
        guest_reap(kid, 0);
}
int main(void)
{
    pid_t kid = guest_fork(generation);
    guest_await("bottom");
    guest_ready();
    guest_reap(kid, 0);
    return 0;
}
