// eventfds: counter, semaphore mode, shared with a child that blocks on one.
#include "../guest.h"
static int block;
static void child(void)
{
    uint64_t v;
    CHECK_EQ("read", 8, SYS(read(block, &v, 8)));
    CHECK_EQ("value", 6, v);
}
int main(void)
{
    uint64_t v;
    int a = SYS(eventfd(5, EFD_NONBLOCK | EFD_CLOEXEC)), s = SYS(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK));
    block = SYS(eventfd(0, 0));
    CHECK_EQ("write", 8, write(a, &(uint64_t){1UL << 40}, 8));
    pid_t kid = guest_fork(child);
    guest_ready();
    CHECK_EQ("read", 8, read(a, &v, 8));
    CHECK_EQ("counter", (1L << 40) + 5, v);
    CHECK_EQ("empty", -1, read(a, &v, 8));
    for (int i = 0; i < 3; i++) {
        CHECK_EQ("read", 8, read(s, &v, 8));
        CHECK_EQ("semaphore", 1, v);
    }
    CHECK_EQ("empty", -1, read(s, &v, 8));
    CHECK_EQ("cloexec", FD_CLOEXEC, fcntl(a, F_GETFD));
    CHECK_EQ("write", 8, write(block, &(uint64_t){6}, 8));
    guest_reap(kid, 0);
    return 0;
}
