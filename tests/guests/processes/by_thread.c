// Children of several threads: __WNOTHREAD sees one's own, the others do not; a thread's end does not harm them.
#include "../guest.h"
static volatile pid_t kids[3];
static void *parent(void *x)
{
    long n = (long)x;
    int st;
    pid_t kid = SYS(fork());
    if (kid == 0) {
        guest_await_go();
        _exit(10 + n);
    }
    kids[n] = kid;
    if (n == 2)
        return NULL;
    guest_await_go();
    CHECK_EQ("own child", kid, SYS(waitpid(-1, &st, __WNOTHREAD)));
    CHECK_EQ("status", 10 + n, WEXITSTATUS(st));
    return NULL;
}
int main(void)
{
    pthread_t t[3];
    for (long i = 0; i < 3; i++)
        t[i] = guest_thread(parent, (void *)i);
    for (int i = 0; i < 3; i++)
        AWAIT(kids[i]);
    guest_join(t[2]);
    guest_ready();
    guest_join(t[0]);
    guest_join(t[1]);
    guest_reap(kids[2], 12);
    return 0;
}
