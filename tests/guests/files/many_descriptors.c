// A thousand descriptors at scattered numbers, some shared, with holes between.
#include "../guest.h"
int main(void)
{
    struct rlimit r;
    SYS(getrlimit(RLIMIT_NOFILE, &r));
    r.rlim_cur = r.rlim_max < 4096 ? r.rlim_max : 4096;
    SYS(setrlimit(RLIMIT_NOFILE, &r));
    int base = SYS(open(PATH_OF("base"), O_RDWR | O_CREAT, 0600)), max = r.rlim_cur - 10, n = 0;
    for (int fd = 10; fd < max && n < 1000; fd += 3, n++) {
        int own = n % 2 ? SYS(dup(base)) : SYS(open(PATH_OF("base"), O_RDWR));
        if (n % 2 == 0)
            SYS(lseek(own, fd, SEEK_SET));
        SYS(dup3(own, fd, n % 5 ? 0 : O_CLOEXEC));
        close(own);
    }
    guest_ready();
    n = 0;
    for (int fd = 10; fd < max && n < 1000; fd += 3, n++) {
        CHECK_EQ("offset", n % 2 ? 0 : fd, lseek(fd, 0, SEEK_CUR));
        CHECK_EQ("cloexec", n % 5 ? 0 : FD_CLOEXEC, fcntl(fd, F_GETFD));
        CHECK_EQ("hole", -1, fcntl(fd + 1, F_GETFD));
    }
    return 0;
}
