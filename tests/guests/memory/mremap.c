// Areas that were moved, grown and shrunk by mremap; again after.
#include "../guest.h"
int main(void)
{
    char *a = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    guest_fill(a, 8 * 4096, 2);
    char *b = mremap(a, 8 * 4096, 64 * 4096, MREMAP_MAYMOVE);
    CHECK(b != MAP_FAILED);
    char *to = mmap(NULL, 16 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *c = mremap(b, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    CHECK(c == to);
    guest_ready();
    char whole[8 * 4096];
    memcpy(whole, c, 4096);
    memcpy(whole + 4096, b + 4096, 7 * 4096);
    guest_verify("moved and left", whole, sizeof whole, 2);
    char *d = mremap(b + 4096, 63 * 4096, 128 * 4096, MREMAP_MAYMOVE);
    CHECK(d != MAP_FAILED);
    CHECK(memcmp(d, whole + 4096, 7 * 4096) == 0);
    memset(d, 1, 128 * 4096);
    return 0;
}
