// Guard pages (MADV_GUARD_INSTALL) in the middle of much memory, some of which changes, stay guards.
#include "../guest.h"
enum { MB = 1 << 20 };
static char *m;
static void *change(void *a)
{
    (void)a;
    for (int i = 0; !guest_going(); i++) {
        m[i % 4 * MB + 4096]++;
        guest_nap();
    }
    return NULL;
}
int main(void)
{
    m = mmap(NULL, 16 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    memset(m, 7, 16 * MB);
    if (madvise(m + 8 * MB, MB, 102))
        SKIP("MADV_GUARD_INSTALL: %s", strerror(errno));
    pthread_t other = guest_thread(change, NULL);
    guest_ready();
    SYS(pthread_join(other, NULL));
    for (int at = 0; at < MB; at += 51 * 4096)
        CHECK_EQ("guard", 1, guest_faults(m + 8 * MB + at));
    CHECK_EQ("last guard", 1, guest_faults(m + 9 * MB - 1));
    CHECK_EQ("before", 7, m[8 * MB - 1]);
    CHECK_EQ("behind", 7, m[9 * MB]);
    SYS(madvise(m + 8 * MB, MB, 103));
    CHECK_EQ("removed guard", 0, m[8 * MB]);
    return 0;
}
