// A plugin of its own library, loaded by ckpt_launch, comes along through exec and over restarts.
// plugin: examples/plugins/pause.c
#include "../guest.h"
// The line in maps that names the plugin.
static int has_plugin(void)
{
    char line[512];
    int found = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    CHECK(f);
    while (fgets(line, sizeof line, f))
        found |= strstr(line, ".plugin.so") != NULL;
    fclose(f);
    return found;
}
int main(int argc, char **argv)
{
    if (argc > 1)
        return has_plugin() ? 7 : 8;
    CHECK(!getenv("LD_PRELOAD"));
    guest_ready();
    int there = has_plugin();
    pid_t kid = SYS(fork());
    if (kid == 0) {
        execl(argv[0], argv[0], "child", NULL);
        _exit(9);
    }
    guest_reap(kid, there ? 7 : 8);
    CHECK_EQ("loaded under ckpt", getenv("GUEST_INIT_IS_1") != NULL, there);
    return 0;
}
