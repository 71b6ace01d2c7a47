// The working directory is one of the process's own below /proc.
#include "../guest.h"
int main(void)
{
    char buf[4096] = {0}, want[32];
    SYS(chdir("/proc/self"));
    guest_ready();
    int fd = SYS(openat(SYS(open(".", O_RDONLY | O_DIRECTORY)), "status", O_RDONLY));
    SYS(read(fd, buf, sizeof buf - 1));
    sprintf(want, "\nPid:\t%d\n", getpid());
    CHECK(strstr(buf, want));
    SYS(access("task", F_OK));
    return 0;
}
