// Anonymous shared memory of parent and child is one again.
#include "../guest.h"
enum { LEN = 1 << 20 };
static char *m;
static void child(void)
{
    guest_await("asked");
    CHECK_EQ("parent's byte", 77, m[5]);
    guest_verify("content", m + 4096, LEN - 4096, 3);
    m[6] = 78;
    guest_note("answered");
    SYS(munmap(m, LEN));
}
int main(void)
{
    m = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    guest_fill(m + 4096, LEN - 4096, 3);
    pid_t kid = guest_fork(child);
    guest_ready();
    m[5] = 77;
    guest_note("asked");
    guest_await("answered");
    CHECK_EQ("child's byte", 78, m[6]);
    guest_verify("content", m + 4096, LEN - 4096, 3);
    guest_reap(kid, 0);
    return 0;
}
