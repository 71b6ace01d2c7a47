// Content behind a thousand pages without rights, each a map of its own: a checkpoint reads it and leaves them closed.
#include "../guest.h"
enum { N = 1000 };
static char *m;
static int closed(void)
{
    char line[512], r[8];
    unsigned long from, to;
    int n = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%lx-%lx %7s", &from, &to, r) == 3 && from >= (unsigned long)m && to <= (unsigned long)m + N * 8192L)
            n += r[0] == '-' && to - from == 4096;
    fclose(f);
    return n;
}
int main(void)
{
    m = mmap(NULL, N * 8192L, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    guest_fill(m, N * 8192L, 7);
    for (int i = 0; i < N; i++)
        SYS(mprotect(m + i * 8192L, 4096, PROT_NONE));
    CHECK_EQ("closed before", N, closed());
    guest_ready();
    CHECK_EQ("closed", N, closed());
    SYS(mprotect(m, N * 8192L, PROT_READ));
    guest_verify("content", m, N * 8192L, 7);
    return 0;
}
