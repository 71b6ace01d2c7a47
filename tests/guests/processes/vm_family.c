// Processes in one memory: with threads of their own, with shared descriptors, one stopped in a wait for another.
// args: plain files nested signals
#include "../guest.h"
static volatile int word, seen, stop, up;
static volatile pid_t inner_tid;
static char stacks[4][65536];
static volatile int hits;
static void on_usr1(int s) { (void)s, hits++; }
static char **args;
static int leaf(void *x)
{
    (void)x;
    up++;
    while (!stop) {
        seen = word;
        syscall(SYS_nanosleep, &(struct timespec){0, 1000000}, NULL);
    }
    if (guest_is(args, "files"))
        syscall(SYS_dup2, 0, 88);
    return 5;
}
static int nested(void *x)
{
    pid_t pid = syscall(SYS_getpid) + 0 ? clone(leaf, stacks[2] + 65536, CLONE_VM | SIGCHLD, NULL) : 0;
    int st;
    (void)x;
    if (syscall(SYS_wait4, pid, &st, 0, NULL) != pid || WEXITSTATUS(st) != 5)
        return 1;
    return 5;
}
int main(int argc, char **argv)
{
    int flags = CLONE_VM | SIGCHLD;
    (void)argc;
    args = argv;
    if (guest_is(argv, "files"))
        flags |= CLONE_FILES | CLONE_FS;
    if (guest_is(argv, "signals")) {
        flags |= CLONE_SIGHAND;
        signal(SIGUSR1, on_usr1);
    }
    pid_t kid = SYS(clone(guest_is(argv, "nested") ? nested : leaf, stacks[1] + 65536, flags, NULL));
    AWAIT(up);
    guest_ready();
    word = 42;
    AWAIT(seen == 42);
    if (guest_is(argv, "signals")) {
        SYS(kill(kid, SIGUSR1));
        AWAIT(hits);
    }
    stop = 1;
    guest_reap(kid, 5);
    if (guest_is(argv, "files"))
        SYS(fcntl(88, F_GETFD));
    return 0;
}
