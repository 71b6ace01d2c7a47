// process_vm_readv and writev of a child, pidfd_open of it.
#include "../guest.h"
static char shared_name[16] = "before";
static void child(void)
{
    guest_note("child");
    guest_await("written");
    CHECK_STR("written by the parent", "after", shared_name);
}
int main(void)
{
    char buf[16];
    pid_t kid = guest_fork(child);
    guest_await("child");
    guest_ready();
    struct iovec here = {buf, 16}, there = {shared_name, 16}, out = {"after", 6};
    CHECK_EQ("readv", 16, SYS(process_vm_readv(kid, &here, 1, &there, 1, 0)));
    CHECK_STR("child's memory", "before", buf);
    there.iov_len = 6;
    CHECK_EQ("writev", 6, SYS(process_vm_writev(kid, &out, 1, &there, 1, 0)));
    close(SYS(syscall(SYS_pidfd_open, kid, 0)));
    guest_note("written");
    guest_reap(kid, 0);
    return 0;
}
