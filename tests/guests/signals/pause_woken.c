// pause and sigsuspend sleep through checkpoints and wake at the program's own signal.
// args: pause sigsuspend sigwait sigwaitinfo
#include "../guest.h"
static volatile int handled, woken;
static volatile pid_t tid;
static char **args;
static void handler(int s)
{
    (void)s;
    handled++;
}
static void *sleeper(void *x)
{
    sigset_t none, usr1;
    siginfo_t i;
    int s = 0;
    (void)x;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    if (guest_is(args, "pause"))
        PT(pthread_sigmask(SIG_UNBLOCK, &usr1, NULL));
    tid = gettid();
    errno = 0;
    if (guest_is(args, "pause"))
        CHECK(pause() == -1 && errno == EINTR);
    else if (guest_is(args, "sigsuspend"))
        CHECK(sigsuspend(&none) == -1 && errno == EINTR);
    else if (guest_is(args, "sigwait"))
        PT(sigwait(&usr1, &s));
    else
        CHECK_EQ("sigwaitinfo", SIGUSR1, SYS(sigwaitinfo(&usr1, &i)));
    woken = 1;
    return NULL;
}
int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = handler};
    sigset_t usr1;
    (void)argc;
    args = argv;
    SYS(sigaction(SIGUSR1, &sa, NULL));
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    SYS(sigprocmask(SIG_BLOCK, &usr1, NULL));
    pthread_t t = guest_thread(sleeper, NULL);
    AWAIT(tid);
    guest_await_in(tid, guest_is(argv, "pause")        ? SYS_pause
                        : guest_is(argv, "sigsuspend") ? SYS_rt_sigsuspend
                                                       : SYS_rt_sigtimedwait);
    guest_ready();
    CHECK_EQ("woken early", 0, woken);
    SYS(kill(getpid(), SIGUSR1));
    guest_join(t);
    CHECK_EQ("handled", guest_is(argv, "pause") || guest_is(argv, "sigsuspend"), handled);
    return 0;
}
