// A callback that never returns is left after 10 s: the checkpoint fails and names it, and the program runs on.
// So it does after resume and restart, and when it was on its signal stack. The next checkpoint is none the worse for it.
// args: pre_suspend pre_checkpoint resume restart
#include "../guest.h"
#include "../../../include/ckpt/plugin.h"
static volatile int armed, entered, others, asked;
static volatile unsigned long spins;
static int at_event(struct ckpt_occasion *o, void *data)
{
    (void)data;
    if ((int)o->event != armed)
        return 0;
    armed = 0;
    entered++;
    if (o->event == CKPT_RESUME)
        for (;;)
            pause();
    for (;;)
        spins++;
}
static int beside(struct ckpt_occasion *o, void *data)
{
    (void)data;
    others += o->event == CKPT_RESUME || o->event == CKPT_RESTART;
    return 0;
}
#define AFTER (CKPT_BIT(CKPT_RESUME) | CKPT_BIT(CKPT_RESTART))
CKPT_PLUGIN("hang", CKPT_BIT(CKPT_PRE_SUSPEND) | CKPT_BIT(CKPT_PRE_CHECKPOINT) | AFTER, at_event, NULL)
static void *asks(void *how)
{
    char why[256] = "";
    *(int *)how = ckpt_checkpoint(why, sizeof why);
    if (*(int *)how == CKPT_FAILED && !(strstr(why, "plugin hang: its callback for pre-") && strstr(why, "did not return within 10 s")))
        guest_fail("the reason is %s", why);
    asked = 1;
    return NULL;
}
static volatile int handled;
static void on_usr1(int sig)
{
    // The checkpoint finds this thread on the signal stack.
    while (!asked)
        usleep(1000);
    handled = sig;
}
static char ground[64 << 10];
int main(int argc, char **argv)
{
    int how = 0;
    (void)argc;
    struct ckpt_plugin more = {CKPT_PLUGIN_VERSION, AFTER, "beside", beside, NULL};
    ckpt_register(&more);
    if (!ckpt_enabled()) {
        guest_ready();
        return 0;
    }
    int fails = guest_is(argv, "pre_suspend") || guest_is(argv, "pre_checkpoint");
    armed = guest_is(argv, "pre_suspend") ? CKPT_PRE_SUSPEND : guest_is(argv, "pre_checkpoint") ? CKPT_PRE_CHECKPOINT
        : guest_is(argv, "resume") ? CKPT_RESUME : 0;
    if (armed) {
        stack_t stack = {.ss_sp = ground, .ss_size = sizeof ground};
        SYS(sigaltstack(&stack, NULL));
        struct sigaction act = {.sa_handler = on_usr1, .sa_flags = SA_ONSTACK};
        SYS(sigaction(SIGUSR1, &act, NULL));
        pthread_t t = guest_thread(asks, &how);
        SYS(raise(SIGUSR1));
        guest_join(t);
        CHECK_EQ("handled", SIGUSR1, handled);
        CHECK_EQ("called once", 1, entered);
        CHECK_EQ("how", fails ? CKPT_FAILED : CKPT_RESUMED, how);
        CHECK_EQ("others were told", 1, others);
    } else {
        armed = CKPT_RESTART;
    }
    guest_ready();
    if (guest_is(argv, "restart") && ckpt_restarts() > 0)
        CHECK_EQ("left at the restart", 1, entered);
    return 0;
}
