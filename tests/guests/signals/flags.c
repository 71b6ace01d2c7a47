// SA_RESETHAND, SA_NODEFER, SA_RESTART and plain EINTR act as before.
#include "../guest.h"
static volatile int hits, depth, max_depth;
static volatile pid_t tid;
static int p[2];
static void count(int s)
{
    (void)s;
    hits++;
}
static void nest(int s)
{
    if (++depth > max_depth)
        max_depth = depth;
    if (depth < 3)
        raise(s);
    depth--;
}
static void *interrupted(void *x)
{
    char c;
    (void)x;
    tid = gettid();
    CHECK_EQ("read", -1, read(p[0], &c, 1));
    CHECK_EQ("errno", EINTR, errno);
    CHECK_EQ("read", 1, read(p[0], &c, 1));
    return NULL;
}
int main(void)
{
    struct sigaction once = {.sa_handler = count, .sa_flags = SA_RESETHAND},
                     nested = {.sa_handler = nest, .sa_flags = SA_NODEFER}, plain = {.sa_handler = count}, now;
    SYS(pipe(p));
    SYS(sigaction(SIGUSR1, &once, NULL));
    SYS(sigaction(SIGUSR2, &nested, NULL));
    SYS(sigaction(SIGHUP, &plain, NULL));
    pthread_t t = guest_thread(interrupted, NULL);
    AWAIT(tid);
    guest_await_in(tid, SYS_read);
    guest_ready();
    raise(SIGUSR1);
    SYS(sigaction(SIGUSR1, NULL, &now));
    CHECK(now.sa_handler == SIG_DFL);
    raise(SIGUSR2);
    CHECK_EQ("nesting", 3, max_depth);
    guest_await_in(tid, SYS_read);
    PT(pthread_kill(t, SIGHUP));
    AWAIT(hits == 2);
    CHECK_EQ("write", 1, write(p[1], "x", 1));
    guest_join(t);
    return 0;
}
