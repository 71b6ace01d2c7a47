// Leases: held after, of either kind, and their holder is told when somebody opens the file.
// args: read write inherited own_signal
#include "../guest.h"
static volatile int told, of;
static void on_signal(int sig, siginfo_t *info, void *uc)
{
    (void)sig, (void)uc;
    of = info->si_fd;
    told++;
}
static int how;
static void opens(void)
{
    CHECK_EQ("opened", -1, open(PATH_OF("leased"), how | O_NONBLOCK));
    CHECK_EQ("why", EWOULDBLOCK, errno);
}
int main(int argc, char **argv)
{
    (void)argc;
    struct sigaction a = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    int reads = guest_is(argv, "read"), kind = reads ? F_RDLCK : F_WRLCK, signal = SIGIO;
    int fd = SYS(open(PATH_OF("leased"), O_CREAT | (reads ? O_RDONLY : O_RDWR), 0600));
    if (guest_is(argv, "own_signal"))
        SYS(fcntl(fd, F_SETSIG, signal = SIGRTMIN + 4));
    SYS(sigaction(signal, &a, NULL));
    SYS(fcntl(fd, F_SETLEASE, kind));
    pid_t kid = guest_is(argv, "inherited") ? guest_fork(guest_await_go) : 0;
    guest_ready();
    CHECK_EQ("lease", kind, fcntl(fd, F_GETLEASE));
    CHECK_EQ("told", 0, told);
    how = reads ? O_WRONLY : O_RDONLY;
    guest_reap(guest_fork(opens), 0);
    AWAIT(told);
    CHECK_EQ("told", 1, told);
    if (signal != SIGIO)
        CHECK_EQ("of", fd, of);
    SYS(fcntl(fd, F_SETLEASE, F_UNLCK));
    if (kid)
        guest_reap(kid, 0);
    return 0;
}
