// A shared file map writes through to the file, seen by a child's own map.
#include "../guest.h"
static void child(void)
{
    int fd = SYS(open(PATH_OF("file"), O_RDWR));
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    guest_note("mapped");
    guest_await("asked");
    CHECK_EQ("parent's byte", 'p', m[0]);
    m[1] = 'c';
    guest_note("answered");
}
int main(void)
{
    char buf[2];
    int fd = SYS(open(PATH_OF("file"), O_RDWR | O_CREAT, 0600));
    SYS(ftruncate(fd, 8192));
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pid_t kid = guest_fork(child);
    guest_await("mapped");
    guest_ready();
    m[0] = 'p';
    guest_note("asked");
    guest_await("answered");
    CHECK_EQ("child's byte", 'c', m[1]);
    CHECK_EQ("pread", 2, pread(fd, buf, 2, 0));
    CHECK(buf[0] == 'p' && buf[1] == 'c');
    guest_reap(kid, 0);
    return 0;
}
