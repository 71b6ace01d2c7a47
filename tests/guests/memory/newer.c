// Newer kinds of memory: sealed mappings, guard regions, droppable pages.
// args: mseal guard droppable
#include "../guest.h"
int main(int argc, char **argv)
{
    (void)argc;
    int flags = guest_is(argv, "droppable") ? 8 : MAP_PRIVATE;
    char *room = mmap(NULL, 18 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *m = mmap(room + 4096, 16 * 4096, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (m == MAP_FAILED)
        SKIP("mmap: %s", strerror(errno));
    guest_fill(m, 8 * 4096, 3);
    if (guest_is(argv, "mseal") && syscall(462, m, 16 * 4096, 0))
        SKIP("mseal: %s", strerror(errno));
    if (guest_is(argv, "guard") && madvise(m + 4 * 4096, 2 * 4096, 102))
        SKIP("MADV_GUARD_INSTALL: %s", strerror(errno));
    guest_ready();
    if (guest_is(argv, "mseal")) {
        guest_verify("sealed", m, 8 * 4096, 3);
        CHECK_EQ("munmap of a sealed mapping", -1, munmap(m, 4096));
        CHECK_EQ("mprotect of a sealed mapping", -1, mprotect(m, 4096, PROT_READ));
    } else if (guest_is(argv, "guard")) {
        guest_verify("before the guard", m, 4 * 4096, 3);
        CHECK_EQ("guard", 1, guest_faults(m + 4 * 4096));
        CHECK_EQ("guard", 1, guest_faults(m + 6 * 4096 - 1));
        CHECK_EQ("behind the guard", 0, guest_faults(m + 6 * 4096));
        SYS(madvise(m + 4 * 4096, 2 * 4096, 103));
        CHECK_EQ("removed guard", 0, guest_faults(m + 4 * 4096));
    } else {
        char line[512];
        int found = 0;
        FILE *f = fopen("/proc/self/smaps", "r");
        while (fgets(line, sizeof line, f))
            found |= !strncmp(line, "VmFlags:", 8) && strstr(line, " dp") != NULL;
        CHECK_EQ("dp flag", 1, found);
        CHECK_EQ("readable", 0, guest_faults(m));
    }
    return 0;
}
