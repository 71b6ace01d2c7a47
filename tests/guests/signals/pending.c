// A blocked signal stays pending with its siginfo.
#include "../guest.h"
int main(void)
{
    sigset_t set;
    siginfo_t i;
    struct timespec zero = {0};
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN + 3);
    SYS(sigprocmask(SIG_BLOCK, &set, NULL));
    SYS(kill(getpid(), SIGUSR1));
    SYS(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 77}));
    SYS(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_ptr = &set}));
    guest_ready();
    CHECK_EQ("first", SIGUSR1, sigtimedwait(&set, &i, &zero));
    CHECK_EQ("si_code", SI_USER, i.si_code);
    CHECK_EQ("si_pid", getpid(), i.si_pid);
    CHECK_EQ("si_uid", getuid(), i.si_uid);
    CHECK_EQ("second", SIGUSR2, sigtimedwait(&set, &i, &zero));
    CHECK_EQ("si_code", SI_QUEUE, i.si_code);
    CHECK_EQ("si_value", 77, i.si_value.sival_int);
    CHECK_EQ("third", SIGRTMIN + 3, sigtimedwait(&set, &i, &zero));
    CHECK(i.si_value.sival_ptr == &set);
    CHECK_EQ("nothing more", -1, sigtimedwait(&set, &i, &zero));
    return 0;
}
