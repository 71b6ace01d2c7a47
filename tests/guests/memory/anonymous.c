// Private anonymous maps: sparse pages, protections, zero pages that stay unallocated.
#include "../guest.h"
enum { LEN = 64 << 20, PG = 4096 };
int main(void)
{
    char *a = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(a != MAP_FAILED);
    for (int i = 0; i < LEN; i += 1 << 20)
        guest_fill(a + i, PG, i >> 20);
    SYS(mprotect(a, PG, PROT_READ));
    SYS(mprotect(a + (1 << 20), PG, PROT_NONE));
    guest_ready();
    guest_verify("read-only", a, PG, 0);
    SYS(mprotect(a + (1 << 20), PG, PROT_READ));
    for (int i = 0; i < LEN; i += 1 << 20) {
        guest_verify("page", a + i, PG, i >> 20);
        CHECK_EQ("zero page", 0, a[i + 2 * PG]);
    }
    CHECK_EQ("write to read-only", -1, read(SYS(open("/dev/zero", O_RDONLY)), a, 1));
    CHECK_EQ("errno", EFAULT, errno);
    a[LEN - 1] = 1;
    SYS(munmap(a, LEN));
    return 0;
}
