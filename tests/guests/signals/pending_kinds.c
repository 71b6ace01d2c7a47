// Pending signals of every origin keep their siginfo: kill, tgkill, sigqueue, a timer, a child, a fault's code.
#include "../guest.h"
#include <sys/syscall.h>
static siginfo_t take(int sig)
{
    siginfo_t i;
    sigset_t one;
    struct timespec zero = {0, 0};
    sigemptyset(&one);
    sigaddset(&one, sig);
    CHECK_EQ("signal", sig, SYS(syscall(SYS_rt_sigtimedwait, &one, &i, &zero, 8)));
    return i;
}
int main(void)
{
    sigset_t all;
    timer_t t;
    sigfillset(&all);
    SYS(sigprocmask(SIG_SETMASK, &all, NULL));
    pid_t kid = guest_fork(guest_await_go), dead = SYS(fork());
    if (dead == 0)
        _exit(7);
    SYS(waitid(P_PID, dead, &(siginfo_t){0}, WEXITED | WNOWAIT));
    SYS(kill(getpid(), SIGUSR1));
    SYS(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR2));
    SYS(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 77}));
    siginfo_t odd = {.si_signo = SIGRTMIN + 2, .si_code = -60};
    SYS(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN + 2, &odd));
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3, .sigev_value.sival_int = 5};
    SYS(timer_create(CLOCK_MONOTONIC, &ev, &t));
    struct itimerspec it = {{0, 0}, {0, 1}};
    SYS(timer_settime(t, 0, &it, NULL));
    sigset_t pend;
    do
        SYS(sigpending(&pend));
    while (!sigismember(&pend, SIGRTMIN + 3));
    guest_ready();
    siginfo_t i = take(SIGUSR1);
    CHECK_EQ("kill", SI_USER, i.si_code);
    CHECK_EQ("kill's pid", getpid(), i.si_pid);
    i = take(SIGUSR2);
    CHECK_EQ("tgkill", SI_TKILL, i.si_code);
    CHECK_EQ("tgkill's pid", getpid(), i.si_pid);
    i = take(SIGRTMIN + 1);
    CHECK_EQ("sigqueue", SI_QUEUE, i.si_code);
    CHECK_EQ("value", 77, i.si_value.sival_int);
    CHECK_EQ("own code", -60, take(SIGRTMIN + 2).si_code);
    i = take(SIGRTMIN + 3);
    CHECK_EQ("timer", SI_TIMER, i.si_code);
    CHECK_EQ("timer's value", 5, i.si_value.sival_int);
    i = take(SIGCHLD);
    CHECK_EQ("child", CLD_EXITED, i.si_code);
    CHECK_EQ("child's pid", dead, i.si_pid);
    CHECK_EQ("child's status", 7, i.si_status);
    guest_reap(dead, 7);
    guest_reap(kid, 0);
    return 0;
}
