// A PROT_NONE reserve of 1 TiB costs nothing and parts of it can be used after.
#include "../guest.h"
int main(void)
{
    size_t len = 1UL << 40;
    char *m = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED)
        SKIP("no 1 TiB of address space");
    SYS(mprotect(m + (len >> 1), 8192, PROT_READ | PROT_WRITE));
    guest_fill(m + (len >> 1), 8192, 4);
    guest_ready();
    guest_verify("used part", m + (len >> 1), 8192, 4);
    SYS(mprotect(m + (len >> 2), 4096, PROT_READ | PROT_WRITE));
    m[len >> 2] = 1;
    SYS(munmap(m, len));
    return 0;
}
