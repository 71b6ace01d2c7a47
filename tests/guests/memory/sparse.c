// A hundred reserves of a terabyte each, with a page here and there.
#include "../guest.h"
int main(void)
{
    char *m[60];
    size_t tb = 1ul << 40;
    for (int i = 0; i < 60; i++) {
        m[i] = mmap(NULL, tb, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (m[i] == MAP_FAILED)
            SKIP("mmap: %s", strerror(errno));
        for (size_t at = 0; at < 8; at++)
            m[i][at * (tb / 8) + 12345] = i + at;
    }
    guest_ready();
    for (int i = 0; i < 60; i++)
        for (size_t at = 0; at < 8; at++) {
            CHECK_EQ("page", (char)(i + at), m[i][at * (tb / 8) + 12345]);
            CHECK_EQ("beside", 0, m[i][at * (tb / 8) + 999999]);
        }
    return 0;
}
