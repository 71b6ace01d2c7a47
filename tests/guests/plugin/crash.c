// A callback that crashes ends its process as any crash does: the checkpoint is failed or made without it, the others run on.
// args: pre_suspend pre_checkpoint
#include "../guest.h"
#include "../../../include/ckpt/plugin.h"
static volatile int armed;
static int at_event(struct ckpt_occasion *o, void *data)
{
    (void)data;
    if ((int)o->event == armed)
        *(volatile int *)8 = 1;
    return 0;
}
CKPT_PLUGIN("crash", CKPT_BIT(CKPT_PRE_SUSPEND) | CKPT_BIT(CKPT_PRE_CHECKPOINT), at_event, NULL)
static int event;
static void child(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    armed = event;
    guest_note("armed");
    guest_await_go();
}
int main(int argc, char **argv)
{
    char why[256] = "";
    int status;
    (void)argc;
    event = guest_is(argv, "pre_suspend") ? CKPT_PRE_SUSPEND : CKPT_PRE_CHECKPOINT;
    pid_t kid = guest_fork(child);
    guest_await("armed");
    if (ckpt_enabled()) {
        ckpt_checkpoint(why, sizeof why);
        CHECK_EQ("the crashed", kid, waitpid(kid, &status, 0));
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
        if (ckpt_checkpoint(why, sizeof why) == CKPT_FAILED)
            guest_fail("%s", why);
    }
    guest_ready();
    if (!ckpt_enabled())
        guest_reap(kid, 0);
    return 0;
}
