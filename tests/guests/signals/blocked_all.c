// A program that blocks every signal it can: the mask reads back the same and checkpoints come all the same.
#include "../guest.h"
static volatile int ready;
static void *run(void *x)
{
    sigset_t full, got;
    (void)x;
    sigfillset(&full);
    PT(pthread_sigmask(SIG_SETMASK, &full, NULL));
    PT(pthread_sigmask(SIG_SETMASK, NULL, &full));
    ready = 1;
    guest_await_go();
    PT(pthread_sigmask(SIG_SETMASK, NULL, &got));
    for (int s = 1; s <= 64; s++)
        CHECK_EQ("mask", sigismember(&full, s), sigismember(&got, s));
    CHECK_EQ("SIGRTMAX blocked", 1, sigismember(&got, SIGRTMAX));
    return NULL;
}
int main(void)
{
    sigset_t full, got;
    sigfillset(&full);
    SYS(sigprocmask(SIG_BLOCK, &full, NULL));
    pthread_t t = guest_thread(run, NULL);
    AWAIT(ready);
    SYS(sigprocmask(SIG_BLOCK, NULL, &full));
    guest_ready();
    SYS(sigprocmask(SIG_BLOCK, NULL, &got));
    for (int s = 1; s <= 64; s++)
        CHECK_EQ("mask", sigismember(&full, s), sigismember(&got, s));
    guest_join(t);
    return 0;
}
