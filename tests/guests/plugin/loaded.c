// A plugin of its own library, loaded by ckpt_launch, comes along through exec and over restarts.
// plugin: examples/plugins/pause.c
#include "../guest.h"
int main(int argc, char **argv)
{
    if (argc > 1)
        return guest_libraries(".plugin.so") ? 7 : 8;
    CHECK(!getenv("LD_PRELOAD"));
    guest_ready();
    int there = guest_libraries(".plugin.so");
    pid_t kid = SYS(fork());
    if (kid == 0) {
        execl(argv[0], argv[0], "child", NULL);
        _exit(9);
    }
    guest_reap(kid, there ? 7 : 8);
    CHECK_EQ("loaded under ckpt", getenv("GUEST_INIT_IS_1") != NULL, there);
    return 0;
}
