// The queue of signals is full (RLIMIT_SIGPENDING): what is in it comes, in order.
// args: some none threads
#include "../guest.h"
static volatile int ready;
static void *run(void *x)
{
    (void)x;
    ready++;
    guest_await_go();
    return NULL;
}
int main(int argc, char **argv)
{
    struct rlimit l;
    sigset_t set;
    siginfo_t info;
    struct timespec zero = {0, 0};
    int sent = 0;
    (void)argc;
    pthread_t t = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    SYS(pthread_sigmask(SIG_BLOCK, &set, NULL));
    if (guest_is(argv, "threads"))
        t = guest_thread(run, NULL);
    SYS(getrlimit(RLIMIT_SIGPENDING, &l));
    l.rlim_cur = guest_is(argv, "none") ? 0 : 10;
    SYS(setrlimit(RLIMIT_SIGPENDING, &l));
    while (sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = sent}) == 0)
        sent++;
    CHECK_EQ("refused", EAGAIN, errno);
    guest_ready();
    for (int i = 0; i < sent; i++) {
        CHECK_EQ("signal", SIGRTMIN + 1, SYS(sigtimedwait(&set, &info, &zero)));
        CHECK_EQ("value", i, info.si_value.sival_int);
    }
    CHECK_EQ("no more", -1, sigtimedwait(&set, &info, &zero));
    SYS(getrlimit(RLIMIT_SIGPENDING, &l));
    CHECK_EQ("limit", guest_is(argv, "none") ? 0 : 10, l.rlim_cur);
    if (guest_is(argv, "threads"))
        guest_join(t);
    return 0;
}
