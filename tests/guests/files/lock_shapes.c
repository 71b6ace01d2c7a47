// Locks: of a file opened twice, inherited by a child, OFD through a dup, ranges to the end, read and write mixed, of a deleted file, a waiter killed, a lease.
// args: flock_shared ofd_dup posix_ranges child_holds deleted write_only fork_flock posix_two_files
#include "../guest.h"
static int lock(int fd, int cmd, int type, long start, long len)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, cmd, &l);
}
static int type_at(int fd, int cmd, int type, long start, long len)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    SYS(fcntl(fd, cmd, &l));
    return l.l_type;
}
int main(int argc, char **argv)
{
    (void)argc;
    int a = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT, 0600)), b = SYS(open(PATH_OF("f"), O_RDWR));
    SYS(ftruncate(a, 100));
    if (guest_is(argv, "flock_shared")) {
        SYS(flock(a, LOCK_SH)), SYS(flock(b, LOCK_SH));
        guest_ready();
        int c = SYS(open(PATH_OF("f"), O_RDWR));
        CHECK_EQ("exclusive", -1, flock(c, LOCK_EX | LOCK_NB));
        SYS(flock(c, LOCK_SH | LOCK_NB));
        SYS(flock(c, LOCK_UN)), SYS(flock(b, LOCK_UN));
        CHECK_EQ("one is left", -1, flock(c, LOCK_EX | LOCK_NB));
        SYS(flock(a, LOCK_UN));
        SYS(flock(c, LOCK_EX | LOCK_NB));
    } else if (guest_is(argv, "ofd_dup")) {
        int d = SYS(dup(a));
        SYS(lock(a, F_OFD_SETLK, F_WRLCK, 10, 20));
        SYS(lock(a, F_OFD_SETLK, F_RDLCK, 50, 0));
        close(a);
        guest_ready();
        CHECK_EQ("held by the dup", F_WRLCK, type_at(b, F_OFD_GETLK, F_RDLCK, 15, 1));
        CHECK_EQ("read lock", F_RDLCK, type_at(b, F_OFD_GETLK, F_WRLCK, 99999, 1));
        CHECK_EQ("between", F_UNLCK, type_at(b, F_OFD_GETLK, F_WRLCK, 35, 5));
        close(d);
        CHECK_EQ("gone with the last", F_UNLCK, type_at(b, F_OFD_GETLK, F_WRLCK, 0, 0));
    } else if (guest_is(argv, "posix_ranges")) {
        SYS(lock(a, F_SETLK, F_WRLCK, 0, 10)), SYS(lock(a, F_SETLK, F_RDLCK, 10, 10)), SYS(lock(a, F_SETLK, F_WRLCK, 40, 0));
        guest_ready();
        pid_t kid = SYS(fork());
        if (kid == 0) {
            CHECK_EQ("write", F_WRLCK, type_at(b, F_GETLK, F_RDLCK, 5, 1));
            CHECK_EQ("read", F_RDLCK, type_at(b, F_GETLK, F_WRLCK, 15, 1));
            CHECK_EQ("shared", F_UNLCK, type_at(b, F_GETLK, F_RDLCK, 15, 1));
            CHECK_EQ("free", F_UNLCK, type_at(b, F_GETLK, F_WRLCK, 20, 20));
            CHECK_EQ("to the end", F_WRLCK, type_at(b, F_GETLK, F_RDLCK, 1 << 30, 1));
            _exit(0);
        }
        guest_reap(kid, 0);
    } else if (guest_is(argv, "child_holds")) {
        pid_t kid = SYS(fork());
        if (kid == 0) {
            SYS(lock(a, F_SETLK, F_WRLCK, 0, 5));
            guest_note("locked");
            guest_await("asked");
            _exit(0);
        }
        guest_await("locked");
        guest_ready();
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        SYS(fcntl(a, F_GETLK, &l));
        CHECK_EQ("owner", kid, l.l_pid);
        CHECK_EQ("length", 5, l.l_len);
        guest_note("asked");
        guest_reap(kid, 0);
        SYS(lock(a, F_SETLK, F_WRLCK, 0, 0));
    } else if (guest_is(argv, "deleted")) {
        SYS(flock(a, LOCK_EX));
        SYS(lock(b, F_OFD_SETLK, F_WRLCK, 0, 5));
        SYS(unlink(PATH_OF("f")));
        guest_ready();
        CHECK_EQ("flock", -1, flock(b, LOCK_SH | LOCK_NB));
        CHECK_EQ("OFD", F_WRLCK, type_at(a, F_OFD_GETLK, F_RDLCK, 0, 1));
    } else if (guest_is(argv, "write_only")) {
        int w = SYS(open(PATH_OF("f"), O_WRONLY)), r = SYS(open(PATH_OF("f"), O_RDONLY));
        close(a), close(b);
        SYS(lock(w, F_SETLK, F_WRLCK, 0, 5)), SYS(lock(r, F_SETLK, F_RDLCK, 7, 5));
        guest_ready();
        pid_t kid = SYS(fork());
        if (kid == 0) {
            CHECK_EQ("write", F_WRLCK, type_at(r, F_GETLK, F_RDLCK, 0, 1));
            CHECK_EQ("read", F_RDLCK, type_at(w, F_GETLK, F_WRLCK, 7, 1));
            _exit(0);
        }
        guest_reap(kid, 0);
    } else if (guest_is(argv, "fork_flock")) {
        SYS(flock(a, LOCK_EX));
        pid_t kid = SYS(fork());
        if (kid == 0) {
            close(b);
            guest_await("parent closed");
            b = SYS(open(PATH_OF("f"), O_RDWR));
            CHECK_EQ("still held here", -1, flock(b, LOCK_EX | LOCK_NB));
            SYS(flock(a, LOCK_UN));
            SYS(flock(b, LOCK_EX | LOCK_NB));
            _exit(0);
        }
        guest_ready();
        close(a);
        guest_note("parent closed");
        guest_reap(kid, 0);
    } else {
        int g = SYS(open(PATH_OF("g"), O_RDWR | O_CREAT, 0600));
        SYS(lock(a, F_SETLK, F_WRLCK, 0, 1)), SYS(lock(g, F_SETLK, F_WRLCK, 0, 1));
        SYS(lock(b, F_OFD_SETLK, F_WRLCK, 5, 1));
        guest_ready();
        pid_t kid = SYS(fork());
        if (kid == 0) {
            CHECK_EQ("f", F_WRLCK, type_at(a, F_GETLK, F_WRLCK, 0, 1));
            CHECK_EQ("g", F_WRLCK, type_at(g, F_GETLK, F_WRLCK, 0, 1));
            CHECK_EQ("OFD", F_WRLCK, type_at(a, F_GETLK, F_WRLCK, 5, 1));
            _exit(0);
        }
        guest_reap(kid, 0);
    }
    return 0;
}
