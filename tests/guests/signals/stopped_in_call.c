// A process stopped while it sits in a blocking read goes on reading after SIGCONT.
#include "../guest.h"
static int p[2];
static void child(void)
{
    char buf[4] = {0};
    close(p[1]);
    CHECK_EQ("read", 3, read(p[0], buf, 3));
    CHECK_STR("data", "abc", buf);
    CHECK_EQ("end", 0, read(p[0], buf, 1));
}
int main(void)
{
    int st;
    SYS(pipe(p));
    pid_t pid = guest_fork(child);
    close(p[0]);
    // In a group of its own with a parent in the session: an orphaned group ignores SIGTSTP.
    SYS(setpgid(pid, pid));
    guest_await_in(pid, SYS_read);
    SYS(kill(pid, SIGTSTP));
    CHECK_EQ("waitpid", pid, SYS(waitpid(pid, &st, WUNTRACED)));
    CHECK(WIFSTOPPED(st));
    guest_ready();
    CHECK_EQ("write", 3, write(p[1], "abc", 3));
    close(p[1]);
    SYS(kill(pid, SIGCONT));
    guest_reap(pid, 0);
    return 0;
}
