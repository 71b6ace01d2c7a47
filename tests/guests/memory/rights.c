// Every combination of rights on private and shared pages, with their contents behind them.
#include "../guest.h"
static int rights_of(void *at)
{
    char line[512], r[8];
    unsigned long from, to;
    int got = -1;
    FILE *f = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%lx-%lx %7s", &from, &to, r) == 3 && from <= (unsigned long)at && (unsigned long)at < to)
            got = (r[0] == 'r') | (r[1] == 'w') << 1 | (r[2] == 'x') << 2 | (r[3] == 's') << 3;
    fclose(f);
    return got;
}
int main(void)
{
    char *m[16];
    for (int i = 0; i < 16; i++) {
        m[i] = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, (i & 8 ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
        guest_fill(m[i], 3 * 4096, i);
        SYS(mprotect(m[i] + 4096, 4096, i & 7));
    }
    guest_ready();
    for (int i = 0; i < 16; i++) {
        CHECK_EQ("rights", i, rights_of(m[i] + 4096));
        SYS(mprotect(m[i] + 4096, 4096, PROT_READ));
        guest_verify("content", m[i], 3 * 4096, i);
    }
    return 0;
}
