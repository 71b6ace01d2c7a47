// F_SETOWN and F_SETSIG: input after go raises the signal asked for.
#include "../guest.h"
static volatile int hit, fd_seen;
static void handler(int s, siginfo_t *i, void *c)
{
    (void)s, (void)c;
    hit++;
    fd_seen = i->si_fd;
}
int main(void)
{
    int s[2];
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    SYS(sigaction(SIGRTMIN + 2, &sa, NULL));
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    SYS(fcntl(s[0], F_SETOWN, getpid()));
    SYS(fcntl(s[0], F_SETSIG, SIGRTMIN + 2));
    SYS(fcntl(s[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    guest_ready();
    CHECK_EQ("F_GETOWN", getpid(), fcntl(s[0], F_GETOWN));
    CHECK_EQ("F_GETSIG", SIGRTMIN + 2, fcntl(s[0], F_GETSIG));
    CHECK_EQ("O_ASYNC", O_ASYNC, fcntl(s[0], F_GETFL) & O_ASYNC);
    CHECK_EQ("signals before input", 0, hit);
    CHECK_EQ("write", 1, write(s[1], "x", 1));
    AWAIT(hit);
    CHECK_EQ("si_fd", s[0], fd_seen);
    return 0;
}
