// mlock of a range, MCL_FUTURE, and VmLck says so.
#include "../guest.h"
static long locked_kb(void)
{
    char buf[8192];
    guest_read_text("/proc/self/status", buf, sizeof buf);
    return atol(strstr(buf, "VmLck:") + 6);
}
int main(void)
{
    char *m = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mlock(m, 32768))
        SKIP("mlock is not allowed here");
    long before = locked_kb();
    guest_ready();
    CHECK_EQ("VmLck", before, locked_kb());
    SYS(munlock(m, 32768));
    CHECK_EQ("VmLck", 0, locked_kb());
    return 0;
}
