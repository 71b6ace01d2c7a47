// Private maps of files without a name follow them where they were not written, and end where they end.
// args: memfd deleted shm mapped reader
#include "../guest.h"
enum { LEN = 16384 };
static sigjmp_buf env;
static void on_bus(int s)
{
    (void)s;
    siglongjmp(env, 1);
}
static int is_beyond(volatile char *at)
{
    if (sigsetjmp(env, 1))
        return 1;
    *at = 1;
    return 0;
}
int main(int argc, char **argv)
{
    char name[64], link[64], *s = NULL, pattern[4096];
    int fd;
    (void)argc;
    if (guest_is(argv, "shm")) {
        fd = SYS(shm_open(guest_object(name, "private"), O_RDWR | O_CREAT, 0600));
        SYS(shm_unlink(name));
    } else if (guest_is(argv, "deleted")) {
        fd = SYS(open(PATH_OF("gone"), O_RDWR | O_CREAT, 0600));
        SYS(unlink(PATH_OF("gone")));
    } else {
        fd = SYS(memfd_create("private", MFD_CLOEXEC));
    }
    SYS(ftruncate(fd, LEN));
    for (int i = 0; i < 4; i++) {
        guest_fill(pattern, 4096, i);
        CHECK_EQ("write", 4096, pwrite(fd, pattern, 4096, i * 4096));
    }
    // Twice as long as the file; page 0 is read, 1 written, 2 and 3 are left alone.
    char *p = mmap(NULL, 2 * LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0),
         *r = mmap(NULL, LEN, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(p != MAP_FAILED && r != MAP_FAILED);
    guest_verify("page 0 before", p, 4096, 0);
    memset(p + 4096, 'P', 100);
    if (guest_is(argv, "mapped")) {
        s = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        SYS(close(fd));
    }
    if (guest_is(argv, "reader")) {
        sprintf(link, "/proc/self/fd/%d", fd);
        int only = SYS(open(link, O_RDONLY | O_CLOEXEC));
        SYS(close(fd));
        fd = only;
    }
    signal(SIGBUS, on_bus);
    guest_ready();
    guest_verify("page 3", p + 3 * 4096, 4096, 3);
    guest_verify("read-only page 1", r + 4096, 4096, 1);
    CHECK(is_beyond(p + LEN + 5));
    if (guest_is(argv, "reader")) {
        SYS(madvise(p + 4096, 4096, MADV_DONTNEED));
        guest_verify("what was below", p + 4096, 4096, 1);
        return 0;
    }
    for (int i = 0; i < 3; i++) {
        if (s)
            memset(s + i * 4096, 'n', 200);
        else
            CHECK_EQ("write", 200, pwrite(fd, memset(pattern, 'n', 200), 200, i * 4096));
    }
    CHECK_EQ("page 0 follows", 'n', p[0]);
    CHECK_EQ("its own page", 'P', p[4096]);
    CHECK_EQ("page 2 follows", 'n', p[2 * 4096]);
    CHECK_EQ("in the other map", 'n', r[4096]);
    SYS(madvise(p + 4096, 4096, MADV_DONTNEED));
    CHECK_EQ("given up", 'n', p[4096]);
    if (s)
        return 0;
    SYS(ftruncate(fd, LEN + 4096));
    CHECK_EQ("write", 1, pwrite(fd, "k", 1, LEN + 100));
    CHECK_EQ("grown", 'k', p[LEN + 100]);
    CHECK(is_beyond(p + LEN + 4096));
    return 0;
}
