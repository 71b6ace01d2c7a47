// Three thousand queued real-time signals, to the process and to a thread, with values in order.
#include "../guest.h"
#define N 1500
static volatile int sent;
static sigset_t set;
static void take(int sig)
{
    siginfo_t info;
    struct timespec zero = {0, 0};
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, sig);
    for (int i = 0; i < N; i++) {
        CHECK_EQ("signal", sig, SYS(sigtimedwait(&one, &info, &zero)));
        CHECK_EQ("value", i, info.si_value.sival_int);
        CHECK_EQ("sender", getpid(), info.si_pid);
    }
    CHECK_EQ("no more", -1, sigtimedwait(&one, &info, &zero));
}
static void *run(void *x)
{
    (void)x;
    for (int i = 0; i < N; i++)
        PT(pthread_sigqueue(pthread_self(), SIGRTMIN + 2, (union sigval){.sival_int = i}));
    sent = 1;
    guest_await_go();
    take(SIGRTMIN + 2);
    return NULL;
}
int main(void)
{
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    sigaddset(&set, SIGRTMIN + 2);
    SYS(pthread_sigmask(SIG_BLOCK, &set, NULL));
    for (int i = 0; i < N; i++)
        if (sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i}))
            SKIP("sigqueue: %s", strerror(errno));
    pthread_t t = guest_thread(run, NULL);
    AWAIT(sent);
    guest_ready();
    take(SIGRTMIN + 1);
    guest_join(t);
    return 0;
}
