// flock, POSIX and OFD locks are held after; a waiter of each gets it only when released.
// args: flock posix ofd
#include "../guest.h"
static char **args;
static int take(int fd, int wait)
{
    struct flock l = {.l_type = F_WRLCK, .l_start = 100, .l_len = 50};
    if (guest_is(args, "flock"))
        return flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
    if (guest_is(args, "posix"))
        return fcntl(fd, wait ? F_SETLKW : F_SETLK, &l);
    return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &l);
}
static void release(int fd)
{
    struct flock l = {.l_type = F_UNLCK};
    SYS(guest_is(args, "flock") ? flock(fd, LOCK_UN) : fcntl(fd, guest_is(args, "posix") ? F_SETLK : F_OFD_SETLK, &l));
}
static void child(void)
{
    int fd = SYS(open(PATH_OF("file"), O_RDWR));
    CHECK_EQ("lock of another", -1, take(fd, 0));
    guest_note("tried");
    SYS(take(fd, 1));
    CHECK(guest_noted("released"));
    guest_note("got");
    guest_await("asked");
}
int main(int argc, char **argv)
{
    (void)argc;
    args = argv;
    int fd = SYS(open(PATH_OF("file"), O_RDWR | O_CREAT, 0600));
    SYS(take(fd, 0));
    pid_t kid = guest_fork(child);
    guest_await("tried");
    AWAIT(guest_state(kid) == 'S');
    guest_ready();
    CHECK_EQ("still waiting", 0, guest_noted("got"));
    guest_note("released");
    release(fd);
    guest_await("got");
    CHECK_EQ("now the child's", -1, take(SYS(open(PATH_OF("file"), O_RDWR)), 0));
    guest_note("asked");
    guest_reap(kid, 0);
    return 0;
}
