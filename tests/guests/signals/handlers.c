// The handler, flags and mask of every signal.
#include "../guest.h"
static void simple(int s) { (void)s; }
static void info(int s, siginfo_t *i, void *c)
{
    (void)s, (void)i, (void)c;
}
int main(void)
{
    static const int flags[] = {0, SA_RESTART, SA_NODEFER, SA_RESETHAND, SA_ONSTACK, SA_NOCLDSTOP, SA_NOCLDWAIT};
    struct sigaction want[65] = {0}, got;
    for (int s = 1; s <= 64; s++) {
        if (s == SIGKILL || s == SIGSTOP || (s >= 32 && s < SIGRTMIN))
            continue;
        struct sigaction *w = &want[s];
        sigemptyset(&w->sa_mask);
        sigaddset(&w->sa_mask, s % 31 + 1);
        w->sa_flags = flags[s % 7];
        if (s % 5 == 0)
            w->sa_handler = SIG_IGN;
        else if (s % 5 == 1)
            w->sa_handler = SIG_DFL;
        else if (s % 5 == 2)
            w->sa_handler = simple;
        else
            w->sa_sigaction = info, w->sa_flags |= SA_SIGINFO;
        SYS(sigaction(s, w, NULL));
        SYS(sigaction(s, NULL, w));
    }
    guest_ready();
    for (int s = 1; s <= 64; s++) {
        if (s == SIGKILL || s == SIGSTOP || (s >= 32 && s < SIGRTMIN))
            continue;
        SYS(sigaction(s, NULL, &got));
        CHECK(got.sa_handler == want[s].sa_handler);
        CHECK_EQ("flags", want[s].sa_flags, got.sa_flags);
        for (int m = 1; m < 32; m++)
            CHECK_EQ("mask", sigismember(&want[s].sa_mask, m), sigismember(&got.sa_mask, m));
    }
    return 0;
}
