// F_GETLK names the process that holds the lock.
#include "../guest.h"
static void child(void)
{
    struct flock l = {.l_type = F_WRLCK, .l_start = 10, .l_len = 5};
    int fd = SYS(open(PATH_OF("locked"), O_RDWR));
    SYS(fcntl(fd, F_SETLK, &l));
    guest_note("locked.by.child");
    guest_await("asked");
}
int main(void)
{
    int fd = SYS(open(PATH_OF("locked"), O_RDWR | O_CREAT, 0600));
    pid_t kid = guest_fork(child);
    guest_await("locked.by.child");
    guest_ready();
    struct flock l = {.l_type = F_WRLCK};
    SYS(fcntl(fd, F_GETLK, &l));
    CHECK_EQ("l_type", F_WRLCK, l.l_type);
    CHECK_EQ("l_pid", kid, l.l_pid);
    CHECK_EQ("l_start", 10, l.l_start);
    CHECK_EQ("l_len", 5, l.l_len);
    guest_note("asked");
    guest_reap(kid, 0);
    SYS(fcntl(fd, F_GETLK, &l));
    CHECK_EQ("after the holder's death", F_UNLCK, l.l_type);
    return 0;
}
