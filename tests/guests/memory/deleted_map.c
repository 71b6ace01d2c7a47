// Maps of a deleted file, shared and private, and its descriptor.
#include "../guest.h"
int main(void)
{
    int fd = SYS(open(PATH_OF("gone"), O_RDWR | O_CREAT, 0600));
    SYS(ftruncate(fd, 8192));
    char *s = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    guest_fill(s, 8192, 6);
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    p[4096] = 'x';
    SYS(unlink(PATH_OF("gone")));
    guest_ready();
    guest_verify("shared", s, 8192, 6);
    guest_verify("private", p, 4096, 6);
    CHECK_EQ("private written", 'x', p[4096]);
    s[1] = 'y';
    char c;
    CHECK_EQ("pread", 1, pread(fd, &c, 1, 1));
    CHECK_EQ("through the descriptor", 'y', c);
    struct stat st;
    SYS(fstat(fd, &st));
    CHECK_EQ("links", 0, st.st_nlink);
    CHECK_EQ("name", -1, access(PATH_OF("gone"), F_OK));
    return 0;
}
