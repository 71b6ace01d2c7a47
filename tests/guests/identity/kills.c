// kill to oneself, a child, a group, 0; killpg, tgkill, sigqueue and their si_pid.
#include "../guest.h"
static volatile int hits;
static volatile pid_t from;
static void handler(int s, siginfo_t *i, void *c)
{
    (void)s, (void)c;
    from = i->si_pid;
    hits++;
}
static pid_t parent;
static void child(void)
{
    guest_note("child");
    AWAIT(hits == 1);
    CHECK_EQ("si_pid", parent, from);
    SYS(kill(getppid(), SIGUSR1));
    AWAIT(hits == 2);
    _exit(4);
}
int main(void)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    SYS(sigaction(SIGUSR1, &sa, NULL));
    SYS(sigaction(SIGUSR2, &sa, NULL));
    SYS(setpgid(0, 0) < 0 && errno != EPERM ? -1 : 0);
    parent = getpid();
    pid_t kid = guest_fork(child);
    guest_await("child");
    guest_ready();
    SYS(kill(getpid(), SIGUSR1));
    CHECK_EQ("self", 1, hits);
    CHECK_EQ("si_pid", getpid(), from);
    SYS(kill(kid, SIGUSR1));
    AWAIT(hits == 2);
    CHECK_EQ("si_pid of the child", kid, from);
    SYS(kill(0, SIGUSR2));
    AWAIT(hits == 3);
    guest_reap(kid, 4);
    SYS(killpg(getpgrp(), SIGUSR2));
    SYS(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1));
    SYS(syscall(SYS_tkill, gettid(), SIGUSR1));
    PT(pthread_kill(pthread_self(), SIGUSR1));
    SYS(raise(SIGUSR1));
    SYS(sigqueue(getpid(), SIGUSR1, (union sigval){0}));
    AWAIT(hits == 9);
    CHECK_EQ("kill of the reaped", -1, kill(kid, 0));
    return 0;
}
