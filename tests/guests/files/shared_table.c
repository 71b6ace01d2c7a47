// Processes that share their descriptors (CLONE_FILES) or their folder and umask (CLONE_FS), without sharing memory.
// args: files fs both
#include "../guest.h"
int main(int argc, char **argv)
{
    (void)argc;
    int flags = (guest_is(argv, "fs") ? 0 : CLONE_FILES) | (guest_is(argv, "files") ? 0 : CLONE_FS), p[2];
    char cwd[256];
    SYS(mkdir(PATH_OF("d"), 0700));
    SYS(pipe(p));
    pid_t kid = SYS(syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0));
    if (kid == 0) {
        guest_await_go();
        if (flags & CLONE_FILES) {
            int f = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT, 0600));
            CHECK_EQ("number", 300, dup2(f, 300));
            close(p[1]);
        }
        if (flags & CLONE_FS)
            SYS(chdir(PATH_OF("d"))), umask(027);
        _exit(0);
    }
    if (guest_is(argv, "fs"))
        close(p[1]);
    guest_ready();
    guest_reap(kid, 0);
    if (flags & CLONE_FILES) {
        CHECK_EQ("opened by the other", 1, write(300, "x", 1));
        CHECK_EQ("closed by the other", -1, write(p[1], "x", 1));
    } else
        CHECK_EQ("not its own end", 0, read(p[0], cwd, 1));
    CHECK(getcwd(cwd, sizeof cwd));
    if (flags & CLONE_FS) {
        CHECK_STR("folder", PATH_OF("d"), cwd);
        CHECK_EQ("umask", 027, umask(0));
    } else
        CHECK(strcmp(PATH_OF("d"), cwd));
    return 0;
}
