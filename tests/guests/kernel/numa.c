// The memory policy of a thread and of a range.
#include "../guest.h"
enum { PREFERRED = 1, BIND = 2 };
int main(void)
{
    unsigned long node = 1, got = 0;
    int mode = -1;
    char *m = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (syscall(SYS_set_mempolicy, PREFERRED, &node, 64))
        SKIP("set_mempolicy: %s", strerror(errno));
    SYS(syscall(SYS_mbind, m, 65536, BIND, &node, 64, 0));
    guest_ready();
    SYS(syscall(SYS_get_mempolicy, &mode, &got, 64, NULL, 0));
    CHECK_EQ("mode", PREFERRED, mode);
    CHECK_EQ("nodes", 1, got);
    SYS(syscall(SYS_get_mempolicy, &mode, &got, 64, m, 2));
    CHECK_EQ("mode of the range", BIND, mode);
    return 0;
}
