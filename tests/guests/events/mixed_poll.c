// One poll over every kind of descriptor: what is ready is ready again, what is not is not.
#include "../guest.h"
#include <pty.h>
int main(void)
{
    int p[2], s[2], m, t, fd[12], n = 0;
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    SYS(sigprocmask(SIG_BLOCK, &usr1, NULL));
    SYS(pipe(p)), SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s)), SYS(openpty(&m, &t, NULL, NULL, NULL));
    struct itimerspec it = {.it_value = {0, 1}};
    fd[n++] = p[0], fd[n++] = p[1], fd[n++] = s[0], fd[n++] = s[1], fd[n++] = m, fd[n++] = t;
    fd[n++] = SYS(eventfd(1, 0)), fd[n++] = SYS(timerfd_create(CLOCK_MONOTONIC, 0)), fd[n++] = SYS(signalfd(-1, &usr1, 0));
    fd[n++] = SYS(inotify_init1(0)), fd[n++] = SYS(syscall(SYS_pidfd_open, getpid(), 0)), fd[n++] = SYS(epoll_create1(0));
    SYS(timerfd_settime(fd[7], 0, &it, NULL));
    SYS(raise(SIGUSR1));
    CHECK_EQ("write", 1, write(s[0], "x", 1));
    struct pollfd a[12], b[12];
    for (int i = 0; i < n; i++)
        a[i] = b[i] = (struct pollfd){.fd = fd[i], .events = POLLIN | POLLOUT};
    AWAIT(poll(&a[7], 1, 0) == 1);
    int want = SYS(poll(a, n, 0));
    guest_ready();
    CHECK_EQ("ready", want, SYS(poll(b, n, 0)));
    for (int i = 0; i < n; i++)
        CHECK_EQ("revents", a[i].revents, b[i].revents);
    return 0;
}
