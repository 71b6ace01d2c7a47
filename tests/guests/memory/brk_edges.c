// The heap's end moved far up, then back below where it was, before and after.
#include "../guest.h"
int main(void)
{
    char *start = sbrk(0);
    SYS(brk(start + (64 << 20)));
    guest_fill(start, 1 << 20, 5);
    guest_fill(start + (63 << 20), 1 << 20, 6);
    SYS(brk(start + (32 << 20)));
    guest_ready();
    CHECK(sbrk(0) == start + (32 << 20));
    guest_verify("heap", start, 1 << 20, 5);
    SYS(brk(start + (64 << 20)));
    for (char *p = start + (63 << 20); p < start + (64 << 20); p += 4096)
        CHECK_EQ("fresh heap", 0, *p);
    SYS(brk(start));
    CHECK(sbrk(0) == start);
    SYS(brk(start + 4096));
    CHECK_EQ("fresh heap", 0, start[0] == 0 ? 0 : 1);
    return 0;
}
