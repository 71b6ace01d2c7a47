// Job control of a shell after: groups made before and after by parent and child, stopped and continued as groups.
#include "../guest.h"
static void worker(void)
{
    guest_await_go();
    guest_await("release");
    _exit(6);
}
static void stop_and_go(pid_t group, pid_t *kid, int n)
{
    int st;
    SYS(kill(-group, SIGSTOP));
    for (int i = 0; i < n; i++) {
        CHECK_EQ("waitpid", kid[i], SYS(waitpid(kid[i], &st, WUNTRACED)));
        CHECK(WIFSTOPPED(st));
    }
    SYS(kill(-group, SIGCONT));
    for (int i = 0; i < n; i++) {
        CHECK_EQ("waitpid", kid[i], SYS(waitpid(kid[i], &st, WCONTINUED)));
        CHECK(WIFCONTINUED(st));
    }
}
int main(void)
{
    pid_t kid[6];
    for (int i = 0; i < 6; i++)
        kid[i] = guest_fork(worker);
    for (int i = 0; i < 3; i++)
        SYS(setpgid(kid[i], kid[0]));
    guest_ready();
    for (int i = 0; i < 3; i++)
        CHECK_EQ("group", kid[0], getpgid(kid[i]));
    for (int i = 3; i < 6; i++)
        SYS(setpgid(kid[i], kid[3]));
    SYS(setpgid(kid[2], kid[3]));
    stop_and_go(kid[0], kid, 2);
    stop_and_go(kid[3], kid + 2, 4);
    guest_note("release");
    for (int i = 0; i < 6; i++)
        guest_reap(kid[i], 6);
    return 0;
}
