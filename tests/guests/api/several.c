// Threads of two processes ask for checkpoints at the same time: each gets its answer.
#include "../guest.h"
#include "../../../include/ckpt/ckpt.h"
static void *asks(void *unused)
{
    char why[256] = "";
    for (int i = 0; i < 3; i++)
        if (ckpt_checkpoint(why, sizeof why) == CKPT_FAILED && ckpt_enabled())
            guest_fail("%s", why);
    return unused;
}
static void process(void)
{
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        t[i] = guest_thread(asks, NULL);
    for (int i = 0; i < 3; i++)
        guest_join(t[i]);
}
int main(void)
{
    pid_t kid = guest_fork(process);
    process();
    guest_reap(kid, 0);
    guest_ready();
    process();
    return 0;
}
