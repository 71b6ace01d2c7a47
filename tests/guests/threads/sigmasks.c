// Each thread has its own signal mask and its own pending signals.
#include "../guest.h"
static volatile int ready;
static void *run(void *x)
{
    int n = (long)x;
    sigset_t set, got;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + n);
    PT(pthread_sigmask(SIG_SETMASK, &set, NULL));
    PT(pthread_kill(pthread_self(), SIGRTMIN + n));
    __sync_fetch_and_add(&ready, 1);
    guest_await_go();
    PT(pthread_sigmask(SIG_SETMASK, NULL, &got));
    for (int s = 1; s <= 64; s++)
        if (s != 32 && s != 33)
            CHECK_EQ("mask", sigismember(&set, s), sigismember(&got, s));
    SYS(sigpending(&got));
    for (int s = 1; s <= 64; s++)
        if (s != 32 && s != 33)
            CHECK_EQ("pending", s == SIGRTMIN + n, sigismember(&got, s));
    siginfo_t info;
    struct timespec zero = {0};
    CHECK_EQ("sigtimedwait", SIGRTMIN + n, sigtimedwait(&set, &info, &zero));
    CHECK_EQ("si_code", SI_USER, info.si_code);
    CHECK_EQ("si_pid", getpid(), info.si_pid);
    return NULL;
}
int main(void)
{
    guest_crowd(4, run, &ready);
    return 0;
}
