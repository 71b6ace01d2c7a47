// What a parent is told of a stopped or continued child, seen before or not, is told after, once.
// args: seen unseen tstp continued_seen continued_unseen handler
#include "../guest.h"
static volatile int chld;
static void on_chld(int s, siginfo_t *i, void *c)
{
    (void)s, (void)c, (void)i;
    chld++;
}
static void child(void)
{
    guest_note("child");
    guest_await("end");
    _exit(3);
}
static int report(pid_t pid, int options)
{
    siginfo_t i = {0};
    SYS(waitid(P_PID, pid, &i, options | WNOHANG));
    return i.si_pid ? i.si_code << 8 | i.si_status : 0;
}
int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_sigaction = on_chld, .sa_flags = SA_SIGINFO | SA_RESTART};
    int sig = guest_is(argv, "tstp") ? SIGTSTP : SIGSTOP, all = WSTOPPED | WCONTINUED | WEXITED;
    (void)argc;
    SYS(sigaction(SIGCHLD, &sa, NULL));
    pid_t kid = SYS(fork());
    if (kid == 0) {
        SYS(setpgid(0, 0));
        child();
    }
    guest_await("child");
    SYS(kill(kid, sig));
    AWAIT(guest_state(kid) == 'T');
    AWAIT(report(kid, WSTOPPED | WNOWAIT));
    AWAIT(chld == 1);
    if (!guest_is(argv, "unseen") && !guest_is(argv, "tstp"))
        CHECK_EQ("stop", CLD_STOPPED << 8 | SIGSTOP, report(kid, WSTOPPED));
    if (argv[1] && !strncmp(argv[1], "continued", 9)) {
        SYS(kill(kid, SIGCONT));
        AWAIT(report(kid, WCONTINUED | WNOWAIT));
        if (guest_is(argv, "continued_seen"))
            CHECK_EQ("continue", CLD_CONTINUED << 8 | SIGCONT, report(kid, WCONTINUED));
    }
    AWAIT(chld == (argv[1] && !strncmp(argv[1], "continued", 9) ? 2 : 1));
    int before = chld;
    guest_ready();
    CHECK_EQ("SIGCHLD", before, chld);
    if (guest_is(argv, "unseen") || guest_is(argv, "tstp"))
        CHECK_EQ("stop", CLD_STOPPED << 8 | sig, report(kid, all));
    if (guest_is(argv, "continued_unseen"))
        CHECK_EQ("continue", CLD_CONTINUED << 8 | SIGCONT, report(kid, all));
    CHECK_EQ("no more to report", 0, report(kid, all));
    if (argv[1] && strncmp(argv[1], "continued", 9)) {
        CHECK_EQ("state", 'T', guest_state(kid));
        SYS(kill(kid, SIGCONT));
        AWAIT(report(kid, WCONTINUED | WNOWAIT));
        CHECK_EQ("continue", CLD_CONTINUED << 8 | SIGCONT, report(kid, all));
    }
    guest_note("end");
    guest_reap(kid, 3);
    return 0;
}
