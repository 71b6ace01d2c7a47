// A MAP_GROWSDOWN area still grows, and so does main's stack.
#include "../guest.h"
static long deep(int n)
{
    volatile char buf[4096];
    buf[0] = n;
    return n ? deep(n - 1) + buf[0] : 0;
}
int main(void)
{
    long page = 4096;
    char *hole = mmap(NULL, 512 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SYS(munmap(hole, 512 * page));
    char *top = hole + 500 * page;
    char *m = mmap(top, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE,
                   -1, 0);
    CHECK(m == top);
    m[-1] = 7;
    guest_ready();
    CHECK_EQ("grown before", 7, m[-1]);
    m[-8 * page] = 9;
    CHECK_EQ("grown after", 9, m[-8 * page]);
    deep(1000);
    return 0;
}
