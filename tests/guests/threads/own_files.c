// A thread with its own descriptor table, working directory and umask (unshare).
#include "../guest.h"
static volatile int ready;
static void *run(void *x)
{
    char got[300];
    (void)x;
    SYS(unshare(CLONE_FILES | CLONE_FS));
    SYS(chdir("/usr"));
    umask(0123);
    int fd = SYS(open("/etc/passwd", O_RDONLY));
    SYS(dup2(fd, 100));
    ready = 1;
    guest_await_go();
    SYS(lseek(100, 5, SEEK_SET));
    CHECK(getcwd(got, sizeof got));
    CHECK_STR("cwd of the thread", "/usr", got);
    CHECK_EQ("umask of the thread", 0123, umask(0));
    return NULL;
}
int main(void)
{
    char before[300], after[300];
    CHECK(getcwd(before, sizeof before));
    umask(022);
    pthread_t t = guest_thread(run, NULL);
    AWAIT(ready);
    CHECK_EQ("descriptor of the thread", -1, fcntl(100, F_GETFD));
    guest_ready();
    CHECK_EQ("descriptor of the thread", -1, fcntl(100, F_GETFD));
    CHECK(getcwd(after, sizeof after));
    CHECK_STR("cwd", before, after);
    CHECK_EQ("umask", 022, umask(0));
    guest_join(t);
    return 0;
}
