// A program whose own file is a memfd, or deleted, or replaced: /proc/self/exe and its text go on.
// args: memfd deleted replaced
#include "../guest.h"
static void copy_to(int out)
{
    int in = SYS(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    char buf[65536];
    for (ssize_t n; (n = SYS(read(in, buf, sizeof buf))) > 0;)
        CHECK_EQ("write", n, write(out, buf, n));
    close(in);
}
int main(int argc, char **argv)
{
    char link[300] = "", before[300] = "";
    if (argc == 2) {
        char *again[] = {argv[0], argv[1], "again", NULL};
        if (guest_is(argv, "memfd")) {
            int fd = SYS(memfd_create("guest-program", MFD_CLOEXEC));
            copy_to(fd);
            fexecve(fd, again, environ);
        } else {
            int fd = SYS(open(PATH_OF("program"), O_CREAT | O_WRONLY | O_CLOEXEC, 0755));
            copy_to(fd);
            close(fd);
            execv(PATH_OF("program"), again);
        }
        guest_fail("exec: %s", strerror(errno));
    }
    if (guest_is(argv, "deleted") || guest_is(argv, "replaced"))
        SYS(unlink(PATH_OF("program")));
    if (guest_is(argv, "replaced"))
        close(SYS(open(PATH_OF("program"), O_CREAT | O_WRONLY | O_CLOEXEC, 0755)));
    SYS(readlink("/proc/self/exe", before, sizeof before - 1));
    guest_ready();
    SYS(readlink("/proc/self/exe", link, sizeof link - 1));
    CHECK_STR("/proc/self/exe", before, link);
    return 0;
}
