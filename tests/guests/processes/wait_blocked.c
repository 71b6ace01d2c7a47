// A parent blocked in waitpid(-1) gets its child's status after.
#include "../guest.h"
static volatile pid_t tid, kid;
static void child(void)
{
    guest_await_go();
    _exit(17);
}
static void *waits(void *x)
{
    int st;
    (void)x;
    tid = gettid();
    CHECK_EQ("waitpid", kid, SYS(waitpid(-1, &st, 0)));
    CHECK(WIFEXITED(st) && WEXITSTATUS(st) == 17);
    return NULL;
}
int main(void)
{
    kid = guest_fork(child);
    pthread_t t = guest_thread(waits, NULL);
    AWAIT(tid);
    guest_await_in(tid, SYS_wait4);
    guest_ready();
    guest_join(t);
    return 0;
}
