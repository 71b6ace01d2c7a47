// Signals fly between parent and child all the time; none is lost and none is made up.
#include "../guest.h"
static volatile int got;
static pid_t parent;
static void handler(int s, siginfo_t *i, void *c)
{
    (void)s, (void)c;
    if (i->si_value.sival_int != got)
        guest_fail("queued value, expected %d, got %d", got, i->si_value.sival_int);
    got++;
}
static int *total;
static void child(void)
{
    while (!guest_going()) {
        if (sigqueue(parent, SIGRTMIN, (union sigval){.sival_int = *total}) == 0)
            ++*total;
        else
            CHECK_EQ("errno", EAGAIN, errno);
        if (*total % 50 == 0)
            guest_nap();
    }
}
int main(void)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    total = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    SYS(sigaction(SIGRTMIN, &sa, NULL));
    parent = getpid();
    pid_t pid = guest_fork(child);
    AWAIT(got > 10);
    guest_ready();
    guest_reap(pid, 0);
    AWAIT(got >= *total);
    CHECK_EQ("signals", *total, got);
    return 0;
}
