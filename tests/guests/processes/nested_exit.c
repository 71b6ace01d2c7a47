// A chain of processes each waiting for the next; the last ends after go and the codes come back up.
#include "../guest.h"
static int chain(int depth)
{
    if (depth == 6) {
        guest_note("deep");
        guest_await_go();
        return 1;
    }
    int st;
    pid_t pid = SYS(fork());
    if (pid == 0)
        _exit(chain(depth + 1));
    CHECK_EQ("waitpid", pid, SYS(waitpid(pid, &st, 0)));
    CHECK(WIFEXITED(st));
    return WEXITSTATUS(st) + 1;
}
int main(void)
{
    int st;
    pid_t pid = SYS(fork());
    if (pid == 0)
        _exit(chain(0));
    guest_await("deep");
    guest_ready();
    SYS(waitpid(pid, &st, 0));
    CHECK_EQ("sum", 7, WEXITSTATUS(st));
    return 0;
}
