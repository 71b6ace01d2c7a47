// Events come in their order: before a checkpoint forwards, afterwards backwards, and fork and exec beside them.
#include "../guest.h"
#include "../../../include/ckpt/plugin.h"
static char seen[4096];
static int len;
static int note(struct ckpt_occasion *o, void *who)
{
    static const char letter[] = "?scrRfxe";
    CHECK_EQ("version", CKPT_PLUGIN_VERSION, o->version);
    // A callback may make system calls: descriptors are the program's.
    int fd = SYS(open("/dev/null", O_RDONLY | O_CLOEXEC));
    SYS(close(fd));
    seen[len++] = letter[o->event];
    seen[len++] = *(const char *)who;
    return 0;
}
#define ALL (CKPT_BIT(CKPT_PRE_SUSPEND) | CKPT_BIT(CKPT_PRE_CHECKPOINT) | CKPT_BIT(CKPT_RESUME) | CKPT_BIT(CKPT_RESTART))
CKPT_PLUGIN("first", ALL | CKPT_BIT(CKPT_FORK), note, "1")
static void child(void) { CHECK(!ckpt_enabled() || !strncmp(seen + len - 2, "f1", 2)); }
int main(void)
{
    ckpt_on(CKPT_PRE_SUSPEND, note, "2");
    ckpt_on(CKPT_RESUME, note, "2");
    ckpt_on(CKPT_RESTART, note, "2");
    guest_ready();
    guest_reap(guest_fork(child), 0);
    if (!ckpt_enabled()) {
        CHECK_EQ("events", 0, len);
        return 0;
    }
    int restarts = 0;
    for (char *p = seen; *p; p += 10) {
        CHECK(!strncmp(p, "s1s2c1", 6));
        CHECK(!strncmp(p + 6, "r2r1", 4) || !strncmp(p + 6, "R2R1", 4));
        restarts += p[6] == 'R';
    }
    CHECK_EQ("restarts", ckpt_restarts(), restarts);
    return 0;
}
