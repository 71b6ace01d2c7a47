// Read locks, several ranges of one file, a flock shared through fork, a lease-free descriptor.
#include "../guest.h"
static int shared;
static void child(void)
{
    struct flock l = {.l_type = F_WRLCK, .l_start = 0, .l_len = 10};
    int fd = SYS(open(PATH_OF("file"), O_RDWR));
    guest_await_go();
    CHECK_EQ("write lock over a read lock", -1, fcntl(fd, F_SETLK, &l));
    l.l_type = F_RDLCK;
    SYS(fcntl(fd, F_SETLK, &l));
    l = (struct flock){.l_type = F_RDLCK, .l_start = 25, .l_len = 1};
    CHECK_EQ("read lock over a write lock", -1, fcntl(fd, F_SETLK, &l));
    l = (struct flock){.l_type = F_WRLCK, .l_start = 15, .l_len = 1};
    SYS(fcntl(fd, F_SETLK, &l));
    CHECK_EQ("flock of a second open", -1, flock(SYS(open(PATH_OF("shared"), O_RDWR)), LOCK_SH | LOCK_NB));
    SYS(flock(shared, LOCK_EX | LOCK_NB));
}
int main(void)
{
    struct flock r = {.l_type = F_RDLCK, .l_start = 0, .l_len = 10}, w = {.l_type = F_WRLCK, .l_start = 20, .l_len = 10};
    int fd = SYS(open(PATH_OF("file"), O_RDWR | O_CREAT, 0600));
    SYS(fcntl(fd, F_SETLK, &r));
    SYS(fcntl(fd, F_SETLK, &w));
    shared = SYS(open(PATH_OF("shared"), O_RDWR | O_CREAT, 0600));
    SYS(flock(shared, LOCK_EX));
    pid_t kid = guest_fork(child);
    guest_ready();
    guest_reap(kid, 0);
    return 0;
}
