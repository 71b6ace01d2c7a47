// setpgid of a child that has exec'ed fails with EACCES, of one that has not works; as it was before.
#include "../guest.h"
int main(int argc, char **argv)
{
    if (argc > 1) {
        guest_note("exec");
        guest_await_go();
        return 3;
    }
    pid_t plain = guest_fork(guest_await_go), execed = SYS(fork());
    if (execed == 0) {
        execl("/proc/self/exe", argv[0], "child", NULL);
        _exit(1);
    }
    guest_await("exec");
    guest_ready();
    CHECK_EQ("setpgid of an exec'ed child", -1, setpgid(execed, execed));
    SYS(setpgid(plain, plain));
    CHECK_EQ("setpgid to a stranger's group", -1, setpgid(0, 1));
    guest_reap(plain, 0);
    guest_reap(execed, 3);
    return 0;
}
