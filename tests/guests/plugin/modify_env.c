// ckpt_restart --modify-env: variables are changed, added and removed before the program goes on; others stay.
// restart: --modify-env @DIR@/work/environment
#include "../guest.h"
#include "../../../include/ckpt/ckpt.h"
static char *old;
static const char *value(const char *name) { return getenv(name) ? getenv(name) : "(none)"; }
int main(void)
{
    FILE *f = fopen(PATH_OF("environment"), "we");
    CHECK(f);
    fputs("DISPLAY=:7\nADDED=a long value, longer than what was there before\nREMOVED\n", f);
    fclose(f);
    setenv("DISPLAY", ":0", 1), setenv("REMOVED", "x", 1), setenv("KEPT", "kept", 1);
    old = getenv("DISPLAY");
    guest_ready();
    CHECK_STR("kept", "kept", value("KEPT"));
    int back = !strcmp(value("DISPLAY"), ":7");
    CHECK_STR("display", back ? ":7" : ":0", value("DISPLAY"));
    CHECK_STR("added", back ? "a long value, longer than what was there before" : "(none)", value("ADDED"));
    CHECK_STR("removed", back ? "(none)" : "x", value("REMOVED"));
    // What a program took out before, it keeps.
    CHECK_STR("old", ":0", old);
    CHECK(!getenv("LD_PRELOAD") && !getenv("CKPT_RESTORE") && !getenv("CKPT_AGENT"));
    // A new program has it too.
    CHECK_EQ("child", 0, system(back ? "[ \"$DISPLAY$REMOVED\" = :7 ]" : "[ \"$DISPLAY$REMOVED\" = :0x ]"));
    CHECK_EQ("changed by a restart alone", ckpt_restarts() > 0, back);
    return 0;
}
