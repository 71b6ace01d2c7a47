// raise, abort and assert in a restarted child kill it, by the right signal.
#include "../guest.h"
static void aborts(void)
{
    guest_await_go();
    abort();
}
static void *raises(void *x)
{
    raise(SIGTERM);
    return x;
}
static void in_thread(void)
{
    guest_await_go();
    guest_join(guest_thread(raises, NULL));
}
int main(void)
{
    int st;
    SYS(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
    pid_t a = guest_fork(aborts), b = guest_fork(in_thread);
    guest_ready();
    SYS(waitpid(a, &st, 0));
    CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGABRT);
    SYS(waitpid(b, &st, 0));
    CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGTERM);
    return 0;
}
