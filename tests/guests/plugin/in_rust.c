// A plugin in Rust, a library of its own, refuses checkpoints while a file exists; it comes along through exec and restarts.
// plugin: examples/plugins/veto.rs
#include "../guest.h"
#include "../../../include/ckpt/ckpt.h"
static void try(int refused)
{
    char why[256] = "";
    int how = ckpt_checkpoint(why, sizeof why);
    if (!ckpt_enabled())
        refused = 1;
    CHECK_EQ("refused", refused, how == CKPT_FAILED);
    if (refused && ckpt_enabled() && !strstr(why, "the file that NO_CHECKPOINT names exists"))
        guest_fail("the reason is %s", why);
}
int main(int argc, char **argv)
{
    (void)argc;
    if (!getenv("NO_CHECKPOINT")) {
        setenv("NO_CHECKPOINT", PATH_OF("not-now"), 1);
        execv(argv[0], argv);
        guest_fail("exec");
    }
    guest_note("not-now");
    try(1);
    SYS(unlink(PATH_OF("not-now")));
    try(0);
    guest_ready();
    guest_note("not-now");
    try(1);
    SYS(unlink(PATH_OF("not-now")));
    return 0;
}
