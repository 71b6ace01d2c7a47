// Resource limits that leave the process no room: a checkpoint needs none of it, and they hold after.
// args: nofile fsize nproc as data stack memlock core cpu rtprio nice all
#include "../guest.h"
static const struct { const char *name; int what; rlim_t soft; } list[] = {
    {"fsize", RLIMIT_FSIZE, 4096},     {"stack", RLIMIT_STACK, 262144}, {"memlock", RLIMIT_MEMLOCK, 0},
    {"core", RLIMIT_CORE, 12345},      {"cpu", RLIMIT_CPU, 4000},       {"rtprio", RLIMIT_RTPRIO, 0},
    {"nice", RLIMIT_NICE, 0},
};
static struct rlimit set(int what, rlim_t soft)
{
    struct rlimit l;
    SYS(getrlimit(what, &l));
    l.rlim_cur = soft;
    SYS(setrlimit(what, &l));
    return l;
}
static long field(const char *name)
{
    char buf[8192];
    guest_read_text("/proc/self/status", buf, sizeof buf);
    char *at = strstr(buf, name);
    return at ? atol(at + strlen(name) + 1) : 0;
}
int main(int argc, char **argv)
{
    struct rlimit want = {0, 0}, got;
    int what = -1, open_fds = 0;
    if (argc < 2)
        SKIP("needs the name of a limit");
    for (unsigned i = 0; i < sizeof list / sizeof *list; i++)
        if (!strcmp(argv[1], list[i].name))
            want = set(what = list[i].what, list[i].soft);
    if (guest_is(argv, "nofile")) {
        want = set(what = RLIMIT_NOFILE, 20);
        while (dup(0) >= 0)
            open_fds++;
        CHECK_EQ("dup", EMFILE, errno);
    } else if (guest_is(argv, "nproc")) {
        want = set(what = RLIMIT_NPROC, 1);
    } else if (guest_is(argv, "as"))
        want = set(what = RLIMIT_AS, (field("VmSize:") + 64) * 1024);
    else if (guest_is(argv, "data"))
        want = set(what = RLIMIT_DATA, (field("VmData:") + 64) * 1024);
    else if (guest_is(argv, "all"))
        for (int i = 0; i < RLIM_NLIMITS; i++) {
            SYS(getrlimit(i, &got));
            if (i != RLIMIT_NPROC && i != RLIMIT_CPU && got.rlim_cur > 1000)
                set(i, got.rlim_cur == RLIM_INFINITY ? 1ul << 40 : got.rlim_cur - 1);
        }
    guest_ready();
    if (what >= 0) {
        SYS(getrlimit(what, &got));
        CHECK_EQ("soft limit", want.rlim_cur, got.rlim_cur);
        CHECK_EQ("hard limit", want.rlim_max, got.rlim_max);
    }
    if (open_fds) {
        CHECK_EQ("dup", -1, dup(0));
        SYS(close(19));
        CHECK_EQ("dup", 19, dup(0));
    }
    return 0;
}
