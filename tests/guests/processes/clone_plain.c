// Children made by clone: a plain one, one with another exit signal, one made for the grandparent.
#include "../guest.h"
static int waits(void *x)
{
    guest_await_go();
    return (long)x;
}
static int makes_sibling(void *x)
{
    char *stack = (char *)malloc(65536) + 65536;
    (void)x;
    SYS(clone(waits, stack, CLONE_PARENT | SIGCHLD, (void *)7));
    guest_await_go();
    return 6;
}
int main(void)
{
    char *stack = malloc(3 * 65536);
    int st, seen = 0;
    signal(SIGUSR1, SIG_IGN);
    pid_t a = SYS(clone(waits, stack + 65536, SIGCHLD, (void *)5)),
          b = SYS(clone(waits, stack + 2 * 65536, SIGUSR1, (void *)9)),
          c = SYS(clone(makes_sibling, stack + 3 * 65536, SIGCHLD, NULL));
    guest_ready();
    guest_reap(a, 5);
    CHECK_EQ("waitpid __WCLONE", b, SYS(waitpid(b, &st, __WCLONE)));
    CHECK_EQ("status", 9, WEXITSTATUS(st));
    guest_reap(c, 6);
    for (pid_t p; (p = waitpid(-1, &st, 0)) > 0; seen++)
        CHECK_EQ("sibling", 7, WEXITSTATUS(st));
    CHECK_EQ("siblings", 1, seen);
    return 0;
}
