// A memfd with seals, content, offset and a map of it.
#include "../guest.h"
int main(void)
{
    char buf[10000];
    int fd = SYS(memfd_create("guest memory", MFD_ALLOW_SEALING | MFD_CLOEXEC));
    guest_fill(buf, sizeof buf, 1);
    CHECK_EQ("write", sizeof buf, write(fd, buf, sizeof buf));
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
    SYS(lseek(fd, 123, SEEK_SET));
    guest_ready();
    CHECK_EQ("seals", F_SEAL_GROW | F_SEAL_SHRINK, SYS(fcntl(fd, F_GET_SEALS)));
    CHECK_EQ("offset", 123, lseek(fd, 0, SEEK_CUR));
    CHECK_EQ("cloexec", FD_CLOEXEC, fcntl(fd, F_GETFD));
    CHECK_EQ("pread", sizeof buf, pread(fd, buf, sizeof buf, 0));
    guest_verify("content", buf, sizeof buf, 1);
    m[0] = 'm';
    CHECK_EQ("pread", 1, pread(fd, buf, 1, 0));
    CHECK_EQ("through the map", 'm', buf[0]);
    CHECK_EQ("grow", -1, ftruncate(fd, 20000));
    char link[64];
    sprintf(buf, "/proc/self/fd/%d", fd);
    link[SYS(readlink(buf, link, sizeof link - 1))] = 0;
    CHECK_STR("name", "/memfd:guest memory (deleted)", link);
    return 0;
}
