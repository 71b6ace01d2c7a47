// /proc/self/environ, as ps and debuggers read it, names nothing of the tool.
#include "../guest.h"
int main(void)
{
    char buf[16384];
    guest_ready();
    int n = guest_read_text("/proc/self/environ", buf, sizeof buf);
    CHECK(n > 0);
    for (char *p = buf; p < buf + n; p += strlen(p) + 1)
        if (strstr(p, "CKPT") == p || strstr(p, "LD_PRELOAD") == p)
            guest_fail("environ, expected nothing of the tool, got %s", p);
    return 0;
}
