// A deleted file with content, read and written on, shared with a child.
#include "../guest.h"
static int fd;
static void child(void)
{
    char c;
    guest_await("asked");
    CHECK_EQ("pread", 1, pread(fd, &c, 1, 0));
    CHECK_EQ("parent's byte", 'P', c);
}
int main(void)
{
    char buf[20000];
    struct stat st;
    fd = SYS(open(PATH_OF("gone"), O_RDWR | O_CREAT, 0640));
    guest_fill(buf, sizeof buf, 2);
    CHECK_EQ("write", sizeof buf, write(fd, buf, sizeof buf));
    SYS(lseek(fd, 10, SEEK_SET));
    SYS(unlink(PATH_OF("gone")));
    pid_t kid = guest_fork(child);
    guest_ready();
    CHECK_EQ("offset", 10, lseek(fd, 0, SEEK_CUR));
    SYS(fstat(fd, &st));
    CHECK_EQ("size", sizeof buf, st.st_size);
    CHECK_EQ("mode", 0640 & ~umask(0), st.st_mode & 0777);
    CHECK_EQ("links", 0, st.st_nlink);
    CHECK_EQ("pread", sizeof buf, pread(fd, buf, sizeof buf, 0));
    guest_verify("content", buf, sizeof buf, 2);
    CHECK_EQ("pwrite", 1, pwrite(fd, "P", 1, 0));
    CHECK_EQ("name", -1, access(PATH_OF("gone"), F_OK));
    guest_note("asked");
    guest_reap(kid, 0);
    return 0;
}
