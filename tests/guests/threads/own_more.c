// Threads that share descriptors, or folder and umask, with some threads of their process and not with others.
// args: group folder raw
#include "../guest.h"
static volatile int up;
static int pipe_of[2];
static char stack[65536];
static void *second(void *x)
{
    char c, cwd[300];
    (void)x;
    up++;
    guest_await_go();
    CHECK_EQ("in the first's table", 1, SYS(read(200, &c, 1)));
    SYS(dup2(200, 201));
    CHECK(getcwd(cwd, sizeof cwd));
    CHECK_STR("folder of both", "/usr", cwd);
    return NULL;
}
static void *first(void *x)
{
    (void)x;
    if (guest_is(x, "folder")) {
        SYS(unshare(CLONE_FS));
        SYS(chdir("/"));
        umask(011);
        up = 2;
        guest_await_go();
        char cwd[300];
        CHECK(getcwd(cwd, sizeof cwd));
        CHECK_STR("folder", "/", cwd);
        CHECK_EQ("umask", 011, umask(0));
        SYS(dup2(0, 202));
        return NULL;
    }
    SYS(unshare(CLONE_FILES | CLONE_FS));
    SYS(chdir("/usr"));
    SYS(dup2(pipe_of[0], 200));
    close(pipe_of[0]);
    close(pipe_of[1]);
    pthread_t t = guest_thread(second, NULL);
    up++;
    guest_await_go();
    guest_join(t);
    SYS(fcntl(201, F_GETFD));
    CHECK_EQ("not its own", -1, fcntl(pipe_of[1], F_GETFD));
    return NULL;
}
static int raw(void *x)
{
    (void)x;
    syscall(SYS_close, pipe_of[0]);
    up = 2;
    while (access(PATH_OF("go"), F_OK))
        syscall(SYS_nanosleep, &(struct timespec){0, 1000000}, NULL);
    CHECK_EQ("closed for itself", -1, syscall(SYS_fcntl, pipe_of[0], F_GETFD));
    up = 3;
    syscall(SYS_exit, 0);
    return 0;
}
int main(int argc, char **argv)
{
    char cwd[300], after[300];
    pthread_t t = 0;
    (void)argc;
    SYS(pipe(pipe_of));
    CHECK(getcwd(cwd, sizeof cwd));
    if (guest_is(argv, "raw"))
        SYS(clone(raw, stack + sizeof stack, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, NULL));
    else
        t = guest_thread(first, argv);
    AWAIT(up >= 2);
    SYS(write(pipe_of[1], "x", 1));
    guest_ready();
    if (t)
        guest_join(t);
    else
        AWAIT(up == 3);
    SYS(fcntl(pipe_of[0], F_GETFD));
    CHECK_EQ("of the others", -1, fcntl(200, F_GETFD));
    if (guest_is(argv, "folder"))
        SYS(fcntl(202, F_GETFD));
    CHECK(getcwd(after, sizeof after));
    CHECK_STR("folder", cwd, after);
    return 0;
}
