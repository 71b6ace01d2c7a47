// A held directory and a held file below /proc/self still speak of this process.
#include "../guest.h"
int main(void)
{
    char buf[4096], name[16];
    int status = SYS(open("/proc/self/status", O_RDONLY)), dir = SYS(open("/proc/self", O_PATH | O_DIRECTORY));
    guest_ready();
    int n = SYS(read(status, buf, sizeof buf - 1));
    buf[n] = 0;
    sprintf(name, "\nPid:\t%d\n", getpid());
    CHECK(strstr(buf, name) != NULL);
    int fd = SYS(openat(dir, "status", O_RDONLY));
    n = SYS(read(fd, buf, sizeof buf - 1));
    buf[n] = 0;
    CHECK(strstr(buf, name) != NULL);
    return 0;
}
