// Heap and brk: content holds, sbrk goes on where it was.
#include "../guest.h"
int main(void)
{
    char *small[1000], *big = malloc(20 << 20), *at = sbrk(100000);
    for (int i = 0; i < 1000; i++)
        guest_fill(small[i] = malloc(i + 1), i + 1, i);
    guest_fill(big, 20 << 20, 9);
    guest_fill(at, 100000, 10);
    void *end = sbrk(0);
    guest_ready();
    CHECK(sbrk(0) == end);
    char *more = sbrk(50000);
    CHECK(more == end);
    memset(more, 0x11, 50000);
    guest_verify("sbrk", at, 100000, 10);
    guest_verify("big", big, 20 << 20, 9);
    for (int i = 0; i < 1000; i++) {
        guest_verify("small", small[i], i + 1, i);
        free(small[i]);
    }
    free(big);
    SYS(brk(end));
    CHECK(sbrk(0) == end);
    memset(malloc(1 << 20), 1, 1 << 20);
    return 0;
}
