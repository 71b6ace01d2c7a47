// One open file shared by dup and by fork keeps one offset; a second open keeps its own.
#include "../guest.h"
static int a, d, other;
static void child(void)
{
    guest_await("asked");
    CHECK_EQ("moved by the parent", 100, lseek(a, 0, SEEK_CUR));
    SYS(lseek(d, 200, SEEK_SET));
    guest_note("answered");
}
int main(void)
{
    a = SYS(open(PATH_OF("file"), O_RDWR | O_CREAT, 0600));
    other = SYS(open(PATH_OF("file"), O_RDWR));
    SYS(ftruncate(a, 1000));
    d = SYS(dup2(a, 50));
    SYS(lseek(a, 5, SEEK_SET));
    pid_t kid = guest_fork(child);
    guest_ready();
    CHECK_EQ("dup", 5, lseek(d, 0, SEEK_CUR));
    CHECK_EQ("other", 0, lseek(other, 0, SEEK_CUR));
    SYS(lseek(d, 100, SEEK_SET));
    guest_note("asked");
    guest_await("answered");
    CHECK_EQ("moved by the child", 200, lseek(a, 0, SEEK_CUR));
    CHECK_EQ("other", 0, lseek(other, 0, SEEK_CUR));
    SYS(fcntl(d, F_SETFL, O_APPEND));
    CHECK_EQ("flags are shared", O_APPEND, fcntl(a, F_GETFL) & O_APPEND);
    CHECK_EQ("flags are shared", 0, fcntl(other, F_GETFL) & O_APPEND);
    guest_reap(kid, 0);
    return 0;
}
