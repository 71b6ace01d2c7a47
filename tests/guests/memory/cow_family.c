// Private memory that a family of processes shares until written: each keeps its own version.
#include "../guest.h"
#define N (4 << 20)
static char *m;
static int n;
static void child(void)
{
    memset(m + n * 65536, 100 + n, 65536);
    guest_note((char[2]){'0' + n, 0});
    guest_await_go();
    for (int i = 0; i < 8; i++)
        for (int at = 0; at < 65536; at += 4096)
            CHECK_EQ("page", i == n ? 100 + n : 1, m[i * 65536 + at]);
}
int main(void)
{
    pid_t kid[8];
    m = mmap(NULL, N, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(m, 1, N);
    for (n = 0; n < 8; n++)
        kid[n] = guest_fork(child);
    for (n = 0; n < 8; n++)
        guest_await((char[2]){'0' + n, 0});
    guest_ready();
    for (n = 0; n < 8; n++)
        guest_reap(kid[n], 0);
    CHECK_EQ("own", 1, m[0]);
    return 0;
}
