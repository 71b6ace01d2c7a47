// Open files: offset, flags, append, content written through after.
#include "../guest.h"
int main(void)
{
    char buf[16];
    int rw = SYS(open(PATH_OF("rw"), O_RDWR | O_CREAT, 0644)),
        ap = SYS(open(PATH_OF("ap"), O_WRONLY | O_CREAT | O_APPEND, 0600)),
        ro = SYS(open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    CHECK_EQ("write", 10, write(rw, "0123456789", 10));
    CHECK_EQ("write", 3, write(ap, "abc", 3));
    SYS(lseek(rw, 4, SEEK_SET));
    SYS(lseek(ro, 7, SEEK_SET));
    int fl[3] = {fcntl(rw, F_GETFL), fcntl(ap, F_GETFL), fcntl(ro, F_GETFL)};
    guest_ready();
    CHECK_EQ("offset", 4, lseek(rw, 0, SEEK_CUR));
    CHECK_EQ("offset", 7, lseek(ro, 0, SEEK_CUR));
    CHECK_EQ("flags", fl[0], fcntl(rw, F_GETFL));
    CHECK_EQ("flags", fl[1], fcntl(ap, F_GETFL));
    CHECK_EQ("flags", fl[2], fcntl(ro, F_GETFL));
    CHECK_EQ("cloexec", FD_CLOEXEC, fcntl(ro, F_GETFD));
    CHECK_EQ("no cloexec", 0, fcntl(rw, F_GETFD));
    CHECK_EQ("read", 3, read(rw, buf, 3));
    CHECK(memcmp(buf, "456", 3) == 0);
    CHECK_EQ("write", 1, write(rw, "X", 1));
    SYS(lseek(ap, 0, SEEK_SET));
    CHECK_EQ("append", 2, write(ap, "de", 2));
    CHECK(guest_read_text(PATH_OF("rw"), buf, sizeof buf) == 10);
    CHECK_STR("rw", "0123456X89", buf);
    CHECK(guest_read_text(PATH_OF("ap"), buf, sizeof buf) == 5);
    CHECK_STR("ap", "abcde", buf);
    return 0;
}
