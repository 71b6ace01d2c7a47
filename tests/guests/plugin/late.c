// A callback that does not return in time: the checkpoint fails and says so, the program goes on when it returns.
// args: pre_suspend pre_checkpoint
#include "../guest.h"
#include "../../../include/ckpt/plugin.h"
static volatile int armed, entered, asked;
static int at_event(struct ckpt_occasion *o, void *data)
{
    struct timespec nap = {0, 10000000};
    (void)data;
    if (!armed || (int)o->event != armed)
        return 0;
    entered++;
    // Longer than the 10 s that it has; no other thread of the process runs at pre-checkpoint.
    for (int i = 0; i < 1100; i++)
        nanosleep(&nap, NULL);
    return 0;
}
CKPT_PLUGIN("late", CKPT_BIT(CKPT_PRE_SUSPEND) | CKPT_BIT(CKPT_PRE_CHECKPOINT), at_event, NULL)
static void *asks(void *how)
{
    char why[256] = "";
    *(int *)how = ckpt_checkpoint(why, sizeof why);
    if (*(int *)how == CKPT_FAILED && !strstr(why, "did not return within 10 s"))
        guest_fail("the reason is %s", why);
    asked = 1;
    return NULL;
}
int main(int argc, char **argv)
{
    int how = 0;
    (void)argc;
    if (ckpt_enabled()) {
        armed = guest_is(argv, "pre_suspend") ? CKPT_PRE_SUSPEND : CKPT_PRE_CHECKPOINT;
        pthread_t t = guest_thread(asks, &how);
        guest_join(t);
        CHECK_EQ("failed", CKPT_FAILED, how);
        CHECK_EQ("called once", 1, entered);
        armed = 0;
    }
    guest_ready();
    return 0;
}
