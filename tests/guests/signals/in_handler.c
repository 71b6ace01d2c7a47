// The checkpoint comes while main is inside two nested handlers; both return to where they interrupted.
#include "../guest.h"
static volatile int depth, after;
static void inner(int s)
{
    (void)s;
    depth++;
    guest_ready();
}
static void outer(int s)
{
    volatile double kept = 1.25;
    (void)s;
    depth++;
    SYS(raise(SIGUSR2));
    CHECK(kept == 1.25);
    after++;
}
int main(void)
{
    stack_t st = {.ss_size = 65536, .ss_sp = malloc(65536)};
    struct sigaction a = {.sa_handler = outer, .sa_flags = SA_ONSTACK}, b = {.sa_handler = inner};
    sigset_t got;
    SYS(sigaltstack(&st, NULL));
    SYS(sigaction(SIGUSR1, &a, NULL));
    sigaddset(&b.sa_mask, SIGTERM);
    SYS(sigaction(SIGUSR2, &b, NULL));
    SYS(raise(SIGUSR1));
    CHECK_EQ("depth", 2, depth);
    CHECK_EQ("outer returned", 1, after);
    SYS(sigprocmask(SIG_BLOCK, NULL, &got));
    CHECK_EQ("SIGUSR1 blocked", 0, sigismember(&got, SIGUSR1));
    CHECK_EQ("SIGTERM blocked", 0, sigismember(&got, SIGTERM));
    return 0;
}
