// A page at address zero, and one at the lowest address that everybody may have.
#include "../guest.h"
int main(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    volatile char *low = mmap((void *)0x10000, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
    volatile char *zero = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zero == MAP_FAILED)
        SKIP("address zero: %s", strerror(errno));
    CHECK(low != MAP_FAILED);
    __asm__ volatile("" : "+r"(zero));
    zero[0] = 1, zero[4095] = 2, low[0] = 3;
    guest_ready();
    CHECK_EQ("first", 1, zero[0]);
    CHECK_EQ("last", 2, zero[4095]);
    CHECK_EQ("low", 3, low[0]);
    return 0;
}
