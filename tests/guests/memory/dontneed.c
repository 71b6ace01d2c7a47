// MADV_DONTNEED after go gives zeros on anonymous memory and the file on a private file map; MADV_FREE is accepted.
#include "../guest.h"
int main(void)
{
    int fd = SYS(open(PATH_OF("file"), O_RDWR | O_CREAT, 0600));
    CHECK_EQ("write", 4096, write(fd, memset(malloc(4096), 'f', 4096), 4096));
    char *a = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
         *f = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    memset(a, 'a', 65536);
    memset(f, 'b', 4096);
    guest_ready();
    CHECK_EQ("anonymous", 'a', a[0]);
    CHECK_EQ("file map", 'b', f[0]);
    SYS(madvise(a, 32768, MADV_DONTNEED));
    SYS(madvise(f, 4096, MADV_DONTNEED));
    for (int i = 0; i < 32768; i++)
        CHECK_EQ("dropped anonymous byte", 0, a[i]);
    CHECK_EQ("kept", 'a', a[32768]);
    CHECK_EQ("dropped file map", 'f', f[0]);
    SYS(madvise(a + 32768, 32768, MADV_FREE));
    SYS(madvise(a, 32768, MADV_WIPEONFORK));
    return 0;
}
