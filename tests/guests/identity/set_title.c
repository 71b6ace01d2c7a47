// A program that rewrites its argv shows the new title in /proc/self/cmdline after too.
#include "../guest.h"
int main(int argc, char **argv)
{
    char cmd[512];
    (void)argc;
    size_t len = strlen(argv[0]);
    memset(argv[0], 'x', len);
    guest_ready();
    CHECK(guest_read_text("/proc/self/cmdline", cmd, sizeof cmd) >= (int)len);
    for (size_t i = 0; i < len; i++)
        CHECK_EQ("title", 'x', cmd[i]);
    return 0;
}
