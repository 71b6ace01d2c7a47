// argv, /proc/self/cmdline, exe, comm and the auxiliary vector.
#include "../guest.h"
#include <elf.h>
#include <sys/auxv.h>
int main(int argc, char **argv)
{
    char cmd[512], cmd2[512], exe[256] = "", exe2[256] = "", comm[32], comm2[32];
    if (argc == 1) {
        execl("/proc/self/exe", "own-name", "first arg", "", "third", NULL);
        guest_fail("exec");
    }
    int n = guest_read_text("/proc/self/cmdline", cmd, sizeof cmd);
    SYS(readlink("/proc/self/exe", exe, sizeof exe - 1));
    guest_read_text("/proc/self/comm", comm, sizeof comm);
    unsigned long entry = getauxval(AT_ENTRY), phdr = getauxval(AT_PHDR), rnd = getauxval(AT_RANDOM);
    unsigned char random[16];
    memcpy(random, (void *)rnd, 16);
    guest_ready();
    CHECK_STR("argv[0]", "own-name", argv[0]);
    CHECK_STR("argv[1]", "first arg", argv[1]);
    CHECK_STR("argv[2]", "", argv[2]);
    CHECK_STR("argv[3]", "third", argv[3]);
    CHECK_EQ("length of cmdline", n, guest_read_text("/proc/self/cmdline", cmd2, sizeof cmd2));
    CHECK(memcmp(cmd, cmd2, n) == 0);
    SYS(readlink("/proc/self/exe", exe2, sizeof exe2 - 1));
    CHECK_STR("exe", exe, exe2);
    guest_read_text("/proc/self/comm", comm2, sizeof comm2);
    CHECK_STR("comm", comm, comm2);
    CHECK_EQ("AT_ENTRY", entry, getauxval(AT_ENTRY));
    CHECK_EQ("AT_PHDR", phdr, getauxval(AT_PHDR));
    CHECK_EQ("AT_RANDOM", rnd, getauxval(AT_RANDOM));
    CHECK(memcmp(random, (void *)rnd, 16) == 0);
    return 0;
}
