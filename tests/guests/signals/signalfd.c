// A signalfd with signals waiting in it, and its mask changed after.
#include "../guest.h"
int main(void)
{
    sigset_t set;
    struct signalfd_siginfo si;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 1);
    SYS(sigprocmask(SIG_BLOCK, &set, NULL));
    int fd = SYS(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    SYS(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 5}));
    SYS(kill(getpid(), SIGUSR1));
    guest_ready();
    CHECK_EQ("flags", O_NONBLOCK, fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK_EQ("cloexec", FD_CLOEXEC, fcntl(fd, F_GETFD));
    CHECK_EQ("read", sizeof si, SYS(read(fd, &si, sizeof si)));
    CHECK_EQ("ssi_signo", SIGUSR1, si.ssi_signo);
    CHECK_EQ("ssi_pid", getpid(), si.ssi_pid);
    CHECK_EQ("read", sizeof si, SYS(read(fd, &si, sizeof si)));
    CHECK_EQ("ssi_signo", SIGRTMIN + 1, si.ssi_signo);
    CHECK_EQ("ssi_int", 5, si.ssi_int);
    CHECK_EQ("empty", -1, read(fd, &si, sizeof si));
    SYS(raise(SIGUSR1));
    CHECK_EQ("read", sizeof si, SYS(read(fd, &si, sizeof si)));
    CHECK_EQ("ssi_pid", getpid(), si.ssi_pid);
    return 0;
}
