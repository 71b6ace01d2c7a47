// A program that is linked with libckpt.so itself: it runs without ckpt_launch, under it, and over restarts.
// cc: -L@BIN@ -Wl,--no-as-needed -l:libckpt.so -Wl,-rpath,$ORIGIN/../../release:$ORIGIN/../..
#include "../guest.h"
int ckpt_enabled(void);
int ckpt_checkpoint(char *, size_t);
int ckpt_restarts(void);
// Weak: also where there is no library that has it.
__attribute__((weak)) int ckpt_of_a_later_version(void);
int main(void)
{
    char why[256] = "";
    int under = getenv("GUEST_INIT_IS_1") != NULL;
    CHECK(!ckpt_of_a_later_version);
    CHECK_EQ("enabled", under, ckpt_enabled());
    CHECK_EQ("loaded once", 1, guest_libraries("/libckpt.so"));
    int how = ckpt_checkpoint(why, sizeof why);
    if (how != (under ? 1 : -1))
        guest_fail("a checkpoint is %d: %s", how, why);
    guest_ready();
    CHECK_EQ("restarts", under ? ckpt_restarts() : -1, ckpt_restarts());
    CHECK_EQ("enabled", under, ckpt_enabled());
    return 0;
}
