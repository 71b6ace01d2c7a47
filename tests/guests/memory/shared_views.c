// Two views of one memfd in one process, and one in a child, at different offsets.
#include "../guest.h"
static char *a, *b;
static void child(void)
{
    guest_await("asked");
    CHECK_EQ("through the first", 1, a[4096]);
    CHECK_EQ("through the second", 1, b[0]);
}
int main(void)
{
    int fd = SYS(memfd_create("views", 0));
    SYS(ftruncate(fd, 3 * 4096));
    a = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    b = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
    guest_fill(a, 4096, 5);
    close(fd);
    pid_t kid = guest_fork(child);
    guest_ready();
    guest_verify("content", a, 4096, 5);
    a[4096] = 1;
    CHECK_EQ("second view", 1, b[0]);
    guest_note("asked");
    guest_reap(kid, 0);
    return 0;
}
