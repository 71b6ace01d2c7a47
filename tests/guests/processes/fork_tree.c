// A tree of processes three deep: ids, parents and exit codes hold.
#include "../guest.h"
static volatile int *ready;
static int tree(int depth, pid_t parent)
{
    pid_t me = getpid(), kid[2] = {0};
    CHECK_EQ("getppid", parent, getppid());
    for (int i = 0; depth < 3 && i < 2; i++) {
        kid[i] = SYS(fork());
        if (kid[i] == 0)
            _exit(tree(depth + 1, me));
    }
    __sync_fetch_and_add(ready, 1);
    if (depth == 0) {
        AWAIT(*ready == 15);
        guest_ready();
    } else
        guest_await_go();
    CHECK_EQ("getpid", me, getpid());
    if (depth)
        CHECK_EQ("getppid", parent, getppid());
    for (int i = 0; i < 2; i++)
        if (kid[i])
            guest_reap(kid[i], depth + 1);
    return depth;
}
int main(void)
{
    ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return tree(0, getppid());
}
