// A plugin refuses checkpoints while a file exists: who asked is told why, the program runs on, and the next one is made.
#include "../guest.h"
#include "../../../examples/plugins/veto.c"
int main(void)
{
    char why[256] = "", wanted[256];
    guest_path(path, "not-now");
    guest_note("not-now");
    int how = ckpt_checkpoint(why, sizeof why);
    CHECK_EQ("refused", CKPT_FAILED, how);
    snprintf(wanted, sizeof wanted, ckpt_enabled() ? "%.200s exists" : "not started by ckpt_launch", path);
    if (!strstr(why, wanted))
        guest_fail("the reason is %s, not %s", why, wanted);
    SYS(unlink(path));
    CHECK_EQ("made", ckpt_enabled() ? CKPT_RESUMED : CKPT_FAILED, ckpt_checkpoint(why, sizeof why));
    guest_ready();
    // As before, after a restart too.
    guest_note("not-now");
    CHECK_EQ("refused", CKPT_FAILED, ckpt_checkpoint(why, sizeof why));
    SYS(unlink(path));
    return 0;
}
