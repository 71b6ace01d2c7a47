// Callbacks in a process that can start no thread (RLIMIT_NPROC 0): its only one calls them, and is sent out of the one that
// does not return.
// args: events pre_suspend pre_checkpoint resume
#include "../guest.h"
#include "../../../include/ckpt/plugin.h"
static volatile int armed, entered, told[8];
static int at_event(struct ckpt_occasion *o, void *data)
{
    (void)data;
    told[o->event]++;
    // Descriptors are the program's.
    int fd = SYS(open("/dev/null", O_RDONLY | O_CLOEXEC));
    SYS(close(fd));
    if ((int)o->event != armed)
        return 0;
    armed = 0;
    for (entered++;;)
        pause();
}
#define ALL (CKPT_BIT(CKPT_PRE_SUSPEND) | CKPT_BIT(CKPT_PRE_CHECKPOINT) | CKPT_BIT(CKPT_RESUME) | CKPT_BIT(CKPT_RESTART))
CKPT_PLUGIN("alone", ALL, at_event, NULL)
int main(int argc, char **argv)
{
    struct rlimit none = {0, 0};
    char why[256] = "";
    timer_t timer;
    (void)argc;
    if (!geteuid()) {
        SYS(chmod(guest_dir, 0777));
        SYS(setresgid(65534, 65534, 65534));
        SYS(setresuid(65534, 65534, 65534));
    }
    SYS(setrlimit(RLIMIT_NPROC, &none));
    armed = guest_is(argv, "pre_suspend") ? CKPT_PRE_SUSPEND : guest_is(argv, "pre_checkpoint") ? CKPT_PRE_CHECKPOINT
        : guest_is(argv, "resume") ? CKPT_RESUME : 0;
    if (armed && ckpt_enabled()) {
        int fails = armed != CKPT_RESUME, how = ckpt_checkpoint(why, sizeof why);
        CHECK_EQ("how", fails ? CKPT_FAILED : CKPT_RESUMED, how);
        if (fails && !(strstr(why, "plugin alone: its callback for pre-") && strstr(why, "did not return within 10 s")))
            guest_fail("the reason is %s", why);
        CHECK_EQ("left once", 1, entered);
        memset((void *)told, 0, sizeof told);
    }
    guest_ready();
    if (ckpt_enabled()) {
        CHECK(told[CKPT_RESUME] + ckpt_restarts() >= told[CKPT_PRE_CHECKPOINT]);
        CHECK_EQ("suspended as often", told[CKPT_PRE_SUSPEND], told[CKPT_PRE_CHECKPOINT]);
        CHECK_EQ("told of restarts", ckpt_restarts(), told[CKPT_RESTART]);
    }
    SYS(timer_create(CLOCK_MONOTONIC, NULL, &timer));
    CHECK_EQ("fork", -1, fork());
    return 0;
}
