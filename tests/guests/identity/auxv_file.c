// /proc/self/auxv agrees with getauxval after, and AT_SYSINFO_EHDR is where the vdso is.
#include "../guest.h"
#include <elf.h>
#include <sys/auxv.h>
int main(void)
{
    unsigned long pairs[128];
    guest_ready();
    int fd = SYS(open("/proc/self/auxv", O_RDONLY)), n = SYS(read(fd, pairs, sizeof pairs)), seen = 0;
    for (int i = 0; i + 1 < n / 8 && pairs[i] != AT_NULL; i += 2)
        if (pairs[i] == AT_ENTRY || pairs[i] == AT_PHDR || pairs[i] == AT_RANDOM || pairs[i] == AT_SYSINFO_EHDR) {
            CHECK_EQ("entry", getauxval(pairs[i]), pairs[i + 1]);
            seen++;
        }
    CHECK_EQ("entries seen", 4, seen);
    unsigned char *vdso = (void *)getauxval(AT_SYSINFO_EHDR);
    CHECK(memcmp(vdso, ELFMAG, SELFMAG) == 0);
    return 0;
}
