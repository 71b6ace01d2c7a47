// Shared memory mapped to write, with a read-only descriptor left: as browsers hand it to their helpers.
#include "../guest.h"
#include <sys/mman.h>
int main(void)
{
    int fd = SYS(memfd_create("region", MFD_CLOEXEC));
    SYS(ftruncate(fd, 8192));
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int reader = SYS(open(path, O_RDONLY | O_CLOEXEC));
    char *a = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *b = mmap(NULL, 8192, PROT_READ, MAP_SHARED, reader, 0);
    CHECK(a != MAP_FAILED && b != MAP_FAILED);
    close(fd);
    strcpy(a + 5000, "before");
    guest_ready();
    CHECK_STR("content", "before", b + 5000);
    strcpy(a + 5000, "after");
    CHECK_STR("the same memory", "after", b + 5000);
    char buf[6] = {0};
    CHECK_EQ("read", 5, pread(reader, buf, 5, 5000));
    CHECK_STR("by the descriptor", "after", buf);
    CHECK_EQ("it is read-only", -1, write(reader, "x", 1));
    return 0;
}
