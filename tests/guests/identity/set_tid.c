// clone3 with a wished pid works after as before, also with an id that the program had and reaped.
#include "../guest.h"
#include <linux/sched.h>
static pid_t make(pid_t want)
{
    struct clone_args a = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&want, .set_tid_size = 1};
    long r = syscall(SYS_clone3, &a, sizeof a);
    if (r < 0)
        SKIP("clone3 with set_tid: %s", strerror(errno));
    return r;
}
int main(void)
{
    pid_t first = guest_fork(guest_await_go), spare = SYS(fork());
    if (spare == 0)
        _exit(0);
    guest_reap(spare, 0);
    pid_t made = make(spare);
    if (made == 0) {
        CHECK_EQ("getpid", spare, getpid());
        guest_await_go();
        _exit(8);
    }
    CHECK_EQ("clone3", spare, made);
    guest_ready();
    CHECK_EQ("taken", -1, kill(made, 0) ? 0 : -1);
    guest_reap(made, 8);
    guest_reap(first, 0);
    return 0;
}
