// Files below /proc that stay open: of a child and a thread that have ended, of processes that are not of the computation; namespaces.
// args: ended thread_ended outside pidfd_outside namespaces
#include "../guest.h"
static int go[2];
static void child(void)
{
    char c;
    CHECK_EQ("go", 1, read(go[0], &c, 1));
}
static volatile pid_t tid;
static void *thread(void *x)
{
    tid = gettid();
    child();
    return x;
}
static int open_of(pid_t pid, const char *rest)
{
    char path[96];
    sprintf(path, "/proc/%d/%s", pid, rest);
    return SYS(open(path, O_RDONLY));
}
static int error_of(int fd)
{
    char c;
    errno = 0;
    return pread(fd, &c, 1, 0) < 0 ? errno : 0;
}
static char *number_of(int fd)
{
    static char text[16];
    memset(text, 0, sizeof text);
    SYS(pread(fd, text, sizeof text - 1, 0));
    text[strcspn(text, " ")] = 0;
    return text;
}
int main(int argc, char **argv)
{
    (void)argc;
    SYS(pipe(go));
    if (guest_is(argv, "ended")) {
        pid_t pid = guest_fork(child);
        int status = open_of(pid, "status"), maps = open_of(pid, "maps");
        int folder = open_of(pid, "task");
        CHECK_EQ("write", 1, write(go[1], "x", 1));
        guest_reap(pid, 0);
        CHECK_EQ("status", ESRCH, error_of(status));
        int of_maps = error_of(maps);
        guest_ready();
        CHECK_EQ("status", ESRCH, error_of(status));
        CHECK_EQ("maps", of_maps, error_of(maps));
        CHECK_EQ("folder", -1, faccessat(folder, "x", F_OK, 0));
    } else if (guest_is(argv, "thread_ended")) {
        char path[96];
        pthread_t t = guest_thread(thread, NULL);
        AWAIT(tid);
        sprintf(path, "/proc/self/task/%d/stat", tid);
        int stat = SYS(open(path, O_RDONLY));
        CHECK_EQ("write", 1, write(go[1], "x", 1));
        guest_join(t);
        // It is joined before the kernel has let it go.
        AWAIT(error_of(stat) == ESRCH);
        guest_ready();
        CHECK_EQ("stat", ESRCH, error_of(stat));
    } else if (guest_is(argv, "outside")) {
        int first = open_of(1, "stat"), folder = open_of(1, ""), parent = open_of(getppid(), "stat");
        CHECK_STR("of the first process", "1", number_of(first));
        CHECK(atoi(number_of(parent)) > 0);
        guest_ready();
        CHECK_STR("of the first process", "1", number_of(first));
        CHECK(atoi(number_of(parent)) > 0);
        SYS(faccessat(folder, "status", F_OK, 0));
    } else if (guest_is(argv, "pidfd_outside")) {
        int fd = SYS(syscall(SYS_pidfd_open, 1, 0));
        guest_ready();
        CHECK_EQ("it lives", 0, poll(&(struct pollfd){fd, POLLIN, 0}, 1, 0));
    } else {
        static const char *names[] = {"ns/net", "ns/mnt", "ns/uts", "ns/ipc", "ns/pid", "ns/pid_for_children", "ns/user", "ns/time", "ns/cgroup"};
        int fds[9];
        struct stat now, open;
        for (int i = 0; i < 9; i++)
            fds[i] = open_of(getpid(), names[i]);
        guest_ready();
        for (int i = 0; i < 9; i++) {
            char path[64];
            sprintf(path, "/proc/self/%s", names[i]);
            SYS(stat(path, &now));
            SYS(fstat(fds[i], &open));
            if (now.st_ino != open.st_ino)
                guest_fail("%s: another namespace", names[i]);
        }
    }
    return 0;
}
