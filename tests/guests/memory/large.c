// Much private memory, which a restart may make of huge pages: holes, an unaligned end, read-only and refused parts,
// a child that shares it, and whatever is done to parts of it afterwards.
#include "../guest.h"

enum { HUGE = 2 << 20, LEN = 24 * HUGE + 5 * 4096, HOLE = 5 * HUGE + 8192 };

static void check(const char *who, char *m)
{
    guest_verify(who, m, HOLE, 1);
    for (int i = 0; i < 3 * 4096; i++)
        CHECK(m[HOLE + i] == 0);
    guest_verify(who, m + HOLE + 3 * 4096, LEN - HOLE - 3 * 4096, 2);
}

int main(void)
{
    char *m = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    guest_fill(m, HOLE, 1);
    guest_fill(m + HOLE + 3 * 4096, LEN - HOLE - 3 * 4096, 2);
    SYS(mprotect(m + 8 * HUGE + 4096, 3 * HUGE, PROT_READ));
    SYS(madvise(m + 14 * HUGE, 2 * HUGE, MADV_NOHUGEPAGE) && errno != EINVAL ? -1 : 0);
    int go[2];
    SYS(pipe(go));
    pid_t child = SYS(fork());
    if (child == 0) {
        char c;
        close(go[1]);
        CHECK(read(go[0], &c, 1) == 0);
        check("child", m);
        _exit(0);
    }
    close(go[0]);
    guest_ready();
    check("parent", m);
    SYS(mprotect(m, LEN, PROT_READ | PROT_WRITE));
    SYS(madvise(m + 3 * HUGE + 4096, HUGE, MADV_DONTNEED));
    for (int i = 0; i < HUGE; i++)
        CHECK(m[3 * HUGE + 4096 + i] == 0);
    char *moved = mremap(m + 18 * HUGE, 2 * HUGE, 3 * HUGE, MREMAP_MAYMOVE);
    CHECK(moved != MAP_FAILED);
    moved[2 * HUGE] = moved[0] = 1;
    SYS(munmap(m + 12 * HUGE + 4096, HUGE));
    memset(m, 3, HOLE);
    close(go[1]);
    int status;
    CHECK(SYS(waitpid(child, &status, 0)) == child && status == 0);
    return 0;
}
