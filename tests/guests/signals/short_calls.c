// Calls that begin and end all the time, by syscall(2) and by libc: the signal finds them where nobody has looked.
#include "short.h"
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
enum { KINDS = 8, EACH = 4 };
static aio_context_t aio;
static int ep, word, nothing[2];
static const struct timespec moment = {0, 150000};
static long call(int kind, sigset_t *usr2)
{
    struct io_event ev;
    struct epoll_event e;
    struct pollfd pf = {.fd = nothing[0], .events = POLLIN};
    struct timespec t = moment;
    siginfo_t si;
    switch (kind) {
    case 0: return syscall(SYS_io_getevents, aio, 1, 1, &ev, &t);
    case 1: return syscall(SYS_ppoll, &pf, 1, &t, usr2, 8);
    case 2: return syscall(SYS_epoll_pwait2, ep, &e, 1, &t, usr2, 8);
    case 3: return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL);
    case 4: return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0) < 0 && errno == ETIMEDOUT ? 0 : -1;
    case 5: return syscall(SYS_rt_sigtimedwait, usr2, &si, &t, 8) < 0 && errno == EAGAIN ? 0 : -1;
    case 6: return sigtimedwait(usr2, &si, &t) < 0 && errno == EAGAIN ? 0 : -1;
    default: return ppoll(&pf, 1, &t, usr2);
    }
}
int main(void)
{
    pthread_t t[KINDS * EACH];
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    PT(pthread_sigmask(SIG_BLOCK, &usr2, NULL));
    SYS(syscall(SYS_io_setup, 1, &aio));
    SYS(pipe(nothing));
    ep = SYS(epoll_create1(0));
    for (long i = 0; i < KINDS * EACH; i++)
        t[i] = guest_thread(caller, (void *)(i % KINDS));
    guest_ready();
    for (int i = 0; i < KINDS * EACH; i++)
        guest_join(t[i]);
    return 0;
}
