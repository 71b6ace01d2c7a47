// A seccomp filter, strict or inherited by a child: it still holds, or the checkpoint refuses.
// args: filter child
#include "../guest.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
static void filter(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 42),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {sizeof code / sizeof *code, code};
    SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SYS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0));
}
static void verify(void)
{
    CHECK_EQ("filtered", -1, getpriority(PRIO_PROCESS, 0));
    errno = 0;
    getpriority(PRIO_PROCESS, 0);
    if (errno != 42)
        guest_fail("errno, expected 42, got %d", errno);
}
static void child(void)
{
    filter();
    guest_note("child");
    guest_await_go();
    verify();
}
int main(int argc, char **argv)
{
    (void)argc;
    pid_t kid = 0;
    if (guest_is(argv, "child")) {
        kid = guest_fork(child);
        guest_await("child");
    } else
        filter();
    guest_ready();
    if (kid)
        guest_reap(kid, 0);
    else
        verify();
    return 0;
}
