// Device files, procfs and sysfs files held open.
#include "../guest.h"
int main(void)
{
    char buf[64] = {1};
    int null = SYS(open("/dev/null", O_RDWR)), zero = SYS(open("/dev/zero", O_RDONLY)), rnd = SYS(open("/dev/urandom", O_RDONLY)),
        full = SYS(open("/dev/full", O_WRONLY)), up = SYS(open("/proc/uptime", O_RDONLY));
    guest_ready();
    CHECK_EQ("write null", 5, write(null, buf, 5));
    CHECK_EQ("read null", 0, read(null, buf, 5));
    CHECK_EQ("read zero", 64, read(zero, buf, 64));
    CHECK_EQ("zero", 0, buf[0]);
    CHECK_EQ("read urandom", 64, read(rnd, buf, 64));
    CHECK_EQ("write full", -1, write(full, buf, 1));
    CHECK_EQ("errno", ENOSPC, errno);
    CHECK(read(up, buf, 64) > 0);
    return 0;
}
