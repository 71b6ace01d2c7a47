// A private file map: written pages are the program's, the others the file's.
#include "../guest.h"
int main(void)
{
    char buf[4 * 4096];
    int fd = SYS(open(PATH_OF("file"), O_RDWR | O_CREAT, 0600));
    guest_fill(buf, sizeof buf, 1);
    CHECK_EQ("write", sizeof buf, write(fd, buf, sizeof buf));
    char *m = mmap(NULL, sizeof buf, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    guest_fill(m + 4096, 4096, 2);
    close(fd);
    guest_ready();
    CHECK(memcmp(m, buf, 4096) == 0);
    guest_verify("written page", m + 4096, 4096, 2);
    CHECK(memcmp(m + 8192, buf + 8192, 8192) == 0);
    m[8192] = 1;
    fd = SYS(open(PATH_OF("file"), O_RDONLY));
    char now[sizeof buf];
    CHECK_EQ("read", sizeof now, read(fd, now, sizeof now));
    CHECK(memcmp(now, buf, sizeof now) == 0);
    return 0;
}
