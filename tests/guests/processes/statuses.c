// A hundred zombies with every kind of end, in groups and sessions of their own, told apart by wait.
#include "../guest.h"
static const int signals[] = {SIGKILL, SIGTERM, SIGABRT, SIGSEGV, SIGUSR1, SIGPIPE, SIGALRM};
int main(void)
{
    pid_t kid[100];
    struct rlimit none = {0, 0};
    SYS(setrlimit(RLIMIT_CORE, &none));
    for (int i = 0; i < 100; i++) {
        kid[i] = SYS(fork());
        if (kid[i] == 0) {
            if (i % 5 == 1)
                SYS(setpgid(0, 0));
            if (i % 5 == 2)
                SYS(setsid());
            if (i % 3 == 0) {
                signal(signals[i % 7], SIG_DFL);
                kill(getpid(), signals[i % 7]);
                pause();
            }
            _exit(i);
        }
    }
    for (int i = 0; i < 100; i++)
        SYS(waitid(P_PID, kid[i], &(siginfo_t){0}, WEXITED | WNOWAIT));
    guest_ready();
    for (int i = 0; i < 100; i++) {
        int st;
        siginfo_t info;
        if (i % 5 == 1)
            CHECK_EQ("group", kid[i], getpgid(kid[i]));
        if (i % 5 == 2)
            CHECK_EQ("session", kid[i], getsid(kid[i]));
        SYS(waitid(P_PID, kid[i], &info, WEXITED | WNOWAIT));
        CHECK_EQ("si_pid", kid[i], info.si_pid);
        CHECK_EQ("si_uid", getuid(), info.si_uid);
        CHECK_EQ("waitpid", kid[i], SYS(waitpid(kid[i], &st, 0)));
        if (i % 3 == 0) {
            CHECK(WIFSIGNALED(st));
            CHECK_EQ("signal", signals[i % 7], WTERMSIG(st));
        } else {
            CHECK(WIFEXITED(st));
            CHECK_EQ("code", i, WEXITSTATUS(st));
        }
    }
    CHECK_EQ("no more", -1, wait(NULL));
    return 0;
}
