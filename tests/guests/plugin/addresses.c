// Processes tell each other their addresses after a restart, each before it runs.
// cc: -DADDRESSES_NO_MAIN
#include "../guest.h"
#include "../../../include/ckpt/plugin.h"
#include "../../../examples/plugins/addresses.c"
static pid_t pids[PROCESSES];
static void check(void)
{
    CHECK_EQ("told after each restart", ckpt_restarts() > 0 ? ckpt_restarts() : 0, told);
    if (told && own)
        CHECK_EQ("the neighbour", own + 1 < PROCESSES ? pids[own + 1] : pids[0], neighbour);
}
static void child(void)
{
    guest_await_go();
    check();
}
int main(void)
{
    pid_t kids[PROCESSES];
    pids[0] = getpid();
    // From the last to the first, so that each knows the one that follows it.
    for (int i = PROCESSES - 1; i > 0; i--) {
        own = i;
        pids[i] = kids[i] = guest_fork(child);
    }
    own = 0;
    guest_ready();
    check();
    for (int i = 1; i < PROCESSES; i++)
        guest_reap(kids[i], 0);
    return 0;
}
