// A plugin takes over all that is open below a folder; the names exist before the first restart too.
#include "../guest.h"
#include "../../../include/ckpt/plugin.h"
static char folder[4096];
static int taken[4], count, back;
static int at_event(struct ckpt_occasion *o, void *data)
{
    (void)data;
    if (o->event == CKPT_PRE_CHECKPOINT) {
        count = ckpt_take_path(folder, taken, 4);
        return count < 0;
    }
    for (int i = 0; i < count; i++) {
        int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        if (fd != taken[i])
            dup2(fd, taken[i]), close(fd);
    }
    if (count)
        back = count;
    return 0;
}
CKPT_PLUGIN("path", CKPT_BIT(CKPT_PRE_CHECKPOINT) | CKPT_BIT(CKPT_RESTART), at_event, NULL)
static void child(void)
{
    count = 0;
    folder[0] = 0;
    int told = 0;
    CHECK_EQ("told", (int)sizeof told, ckpt_lookup("answer", &told, sizeof told, 10000));
    CHECK_EQ("value", 42, told);
}
int main(void)
{
    char name[4200];
    snprintf(folder, sizeof folder, "%s/device/", guest_dir);
    SYS(mkdir(folder, 0700));
    int fds[3], answer = 42;
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s%d", folder, i);
        fds[i] = SYS(open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    }
    snprintf(name, sizeof name, "%s/other", guest_dir);
    fds[2] = SYS(open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    CHECK_EQ("outside a callback", -1, ckpt_take_path(folder, taken, 4));
    CHECK_EQ("published", ckpt_enabled() ? 0 : -1, ckpt_publish("answer", &answer, sizeof answer));
    if (ckpt_enabled())
        guest_reap(guest_fork(child), 0);
    guest_ready();
    if (ckpt_restarts() > 0) {
        char zero = 1;
        CHECK_EQ("taken and brought back", 2, back);
        CHECK_EQ("the plugin's own", 1, read(fds[0], &zero, 1));
        CHECK_EQ("zero", 0, zero);
        // Names begin anew.
        CHECK_EQ("old name", -1, ckpt_lookup("answer", &answer, sizeof answer, 0));
    }
    CHECK_EQ("the other is the kernel's", 1, write(fds[2], "x", 1));
    return 0;
}
