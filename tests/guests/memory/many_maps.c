// Three thousand small maps of changing protection.
#include "../guest.h"
enum { N = 3000 };
int main(void)
{
    char *m = mmap(NULL, N * 4096L, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < N; i++)
        m[i * 4096L] = i;
    for (int i = 0; i < N; i += 2)
        SYS(mprotect(m + i * 4096L, 4096, PROT_READ));
    guest_ready();
    for (int i = 0; i < N; i++)
        CHECK_EQ("byte", (char)i, m[i * 4096L]);
    SYS(mprotect(m, N * 4096L, PROT_READ | PROT_WRITE));
    memset(m, 1, N * 4096L);
    return 0;
}
