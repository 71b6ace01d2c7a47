// Children exec'd with an empty environment are part of the computation, by every exec function.
// args: execve execle fexecve execveat spawn spawnp
#include "../guest.h"
#include <sys/syscall.h>
int main(int argc, char **argv)
{
    char dir[100], *env[] = {dir, NULL}, *av[] = {argv[0], "child", argv[1], NULL}, self[256];
    if (argc > 2) {
        for (char **e = environ; *e; e++)
            if (strncmp(*e, "GUEST_DIR=", 10))
                guest_fail("environment of the child, expected GUEST_DIR only, got %s", *e);
        guest_note("child");
        pid_t me = getpid();
        guest_await_go();
        CHECK_EQ("getpid", me, getpid());
        return 3;
    }
    sprintf(dir, "GUEST_DIR=%s", guest_dir);
    self[SYS(readlink("/proc/self/exe", self, sizeof self - 1))] = 0;
    int fd = SYS(open(self, O_PATH | O_CLOEXEC));
    pid_t pid = 0;
    if (guest_is(argv, "spawn"))
        PT(posix_spawn(&pid, self, NULL, NULL, av, env));
    else if (guest_is(argv, "spawnp"))
        PT(posix_spawnp(&pid, self, NULL, NULL, av, env));
    else if ((pid = SYS(fork())) == 0) {
        if (guest_is(argv, "execve"))
            execve(self, av, env);
        else if (guest_is(argv, "execle"))
            execle(self, argv[0], "child", argv[1], NULL, env);
        else if (guest_is(argv, "fexecve"))
            fexecve(SYS(open(self, O_RDONLY)), av, env);
        else
            execveat(fd, "", av, env, AT_EMPTY_PATH);
        _exit(98);
    }
    guest_await("child");
    guest_ready();
    guest_reap(pid, 3);
    return 0;
}
