// A raw futex in shared memory: a child waits, the parent wakes it after.
#include "../guest.h"
static int *word;
static void child(void)
{
    while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == 0)
        if (syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0))
            CHECK_EQ("errno", EAGAIN, errno);
}
int main(void)
{
    int fd = SYS(open(PATH_OF("futex"), O_RDWR | O_CREAT, 0600));
    SYS(ftruncate(fd, 4096));
    word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pid_t kid = guest_fork(child);
    guest_await_in(kid, SYS_futex);
    guest_ready();
    *word = 1;
    // The waiter may not be back in its wait yet: only its end counts.
    SYS(syscall(SYS_futex, word, FUTEX_WAKE, 10, NULL, NULL, 0));
    guest_reap(kid, 0);
    return 0;
}
