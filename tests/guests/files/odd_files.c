// Files in odd states: signals of a file's own (F_SETSIG, O_ASYNC), terminals by /dev/tty and /dev/ptmx, temporary files linked later, mounts of other kinds, a fallocated hole, an mmap past the end, sysfs and procfs half read, descriptors through /proc/self/fd, write hints, locks over fork.
// args: setsig_thread async_socket ptmx_unopened proc_half proc_dir_half sys_half hint punched append_shared fd_reopened dev_fd cwd_deleted root_dir socket_path o_tmpfile_linkat posix_lock_fork ofd_fork ofd_convert flock_convert flock_dup_close lock_waiter_fork symlink_loop fifo_path readahead truncated_open big_offset dir_other_offset
#include "../guest.h"
static volatile sig_atomic_t told, from;
static volatile pid_t who;
static void on_io(int s, siginfo_t *i, void *u)
{
    (void)u;
    told = s, from = i->si_fd, who = gettid();
}
static void catch(int s)
{
    struct sigaction a = {.sa_sigaction = on_io, .sa_flags = SA_SIGINFO | SA_RESTART};
    SYS(sigaction(s, &a, NULL));
}
static volatile pid_t tid;
static void *sleeper(void *arg)
{
    (void)arg;
    tid = gettid();
    AWAIT(told);
    return NULL;
}
static int make(const char *name, const char *text)
{
    int f = SYS(open(PATH_OF(name), O_RDWR | O_CREAT, 0600));
    if (*text)
        CHECK_EQ("write", (long)strlen(text), SYS(write(f, text, strlen(text))));
    return f;
}
static struct flock range(int type, int start, int len) { return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len}; }
static int taken(int f, int start)
{
    struct flock l = range(F_WRLCK, start, 1);
    SYS(fcntl(f, F_OFD_GETLK, &l));
    return l.l_type;
}
int main(int argc, char **argv)
{
    (void)argc;
    char buf[8192] = {0}, b[16] = {0};
    struct stat st;
    if (guest_is(argv, "setsig_thread")) {
        int p[2];
        catch(SIGRTMIN + 4);
        SYS(pipe(p));
        pthread_t t = guest_thread(sleeper, NULL);
        AWAIT(tid);
        struct f_owner_ex ex = {F_OWNER_TID, tid};
        SYS(fcntl(p[0], F_SETOWN_EX, &ex)), SYS(fcntl(p[0], F_SETSIG, SIGRTMIN + 4)), SYS(fcntl(p[0], F_SETFL, O_ASYNC | O_NONBLOCK));
        guest_ready();
        CHECK_EQ("flags", O_ASYNC | O_NONBLOCK, fcntl(p[0], F_GETFL) & (O_ASYNC | O_NONBLOCK));
        SYS(write(p[1], "x", 1));
        guest_join(t);
        CHECK_EQ("signal", SIGRTMIN + 4, told);
        CHECK_EQ("descriptor", p[0], from);
        CHECK_EQ("thread", tid, who);
    } else if (guest_is(argv, "async_socket")) {
        int s[2];
        catch(SIGIO);
        SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
        SYS(fcntl(s[0], F_SETOWN, getpid()));
        int on = 1;
        SYS(ioctl(s[0], FIOASYNC, &on));
        guest_ready();
        CHECK_EQ("nothing yet", 0, told);
        SYS(write(s[1], "x", 1));
        AWAIT(told);
        CHECK_EQ("signal", SIGIO, told);
    } else if (guest_is(argv, "ptmx_unopened")) {
        int m = SYS(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)), n;
        guest_ready();
        SYS(ioctl(m, TIOCGPTN, &n));
        SYS(grantpt(m)), SYS(unlockpt(m));
        int s = SYS(open(ptsname(m), O_RDWR | O_NOCTTY));
        SYS(write(s, "up\n", 3));
        CHECK_EQ("read", 4, SYS(read(m, buf, 9)));
    } else if (guest_is(argv, "proc_half")) {
        int f = SYS(open("/proc/self/status", O_RDONLY)), m = SYS(open("/proc/self/maps", O_RDONLY)), c = SYS(open("/proc/cpuinfo", O_RDONLY));
        SYS(read(f, buf, 6)), SYS(read(c, buf, 10)), SYS(read(m, buf, 1));
        guest_ready();
        CHECK_EQ("offset", 6, lseek(f, 0, SEEK_CUR));
        SYS(lseek(f, 0, SEEK_SET));
        CHECK(SYS(read(f, buf, sizeof buf - 1)) > 100);
        sprintf(b, "\nPid:\t%d\n", getpid());
        CHECK(strstr(buf, b));
        CHECK_EQ("offset", 10, lseek(c, 0, SEEK_CUR));
        SYS(lseek(m, 0, SEEK_SET));
        CHECK(SYS(read(m, buf, 4096)) > 50);
    } else if (guest_is(argv, "proc_dir_half")) {
        DIR *d = opendir("/proc/self/task"), *n = opendir("/proc/net");
        CHECK(d && n);
        CHECK(readdir(d));
        guest_ready();
        int found = 0;
        rewinddir(d);
        for (struct dirent *e; (e = readdir(d));)
            found += atoi(e->d_name) == getpid();
        CHECK_EQ("itself", 1, found);
        SYS(faccessat(dirfd(n), "unix", F_OK, 0));
    } else if (guest_is(argv, "sys_half")) {
        int f = open("/sys/devices/system/cpu/online", O_RDONLY), d = open("/sys/class/net", O_RDONLY | O_DIRECTORY);
        if (f < 0 || d < 0)
            SKIP("no sysfs");
        SYS(read(f, b, 1));
        guest_ready();
        CHECK_EQ("offset", 1, lseek(f, 0, SEEK_CUR));
        SYS(faccessat(d, "lo", F_OK, 0));
    } else if (guest_is(argv, "hint")) {
        int f = make("f", "x");
        uint64_t hint = 3, now = 0; // RWH_WRITE_LIFE_MEDIUM
        if (fcntl(f, F_SET_RW_HINT, &hint))
            SKIP("no write hints");
        SYS(posix_fadvise(f, 0, 0, POSIX_FADV_RANDOM));
        guest_ready();
        SYS(fcntl(f, F_GET_RW_HINT, &now));
        CHECK_EQ("hint", 3, now);
    } else if (guest_is(argv, "punched")) {
        int f = make("f", "");
        guest_fill(buf, sizeof buf, 1);
        for (int i = 0; i < 8; i++)
            SYS(write(f, buf, sizeof buf));
        if (fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 16384))
            SKIP("no holes here");
        SYS(unlink(PATH_OF("f")));
        SYS(lseek(f, 9000, SEEK_SET));
        guest_ready();
        CHECK_EQ("offset", 9000, lseek(f, 0, SEEK_CUR));
        CHECK_EQ("hole", 8192, lseek(f, 0, SEEK_HOLE));
        CHECK_EQ("data", 24576, lseek(f, 8192, SEEK_DATA));
        SYS(pread(f, buf, sizeof buf, 24576));
        guest_verify("content", buf, sizeof buf, 1);
    } else if (guest_is(argv, "append_shared")) {
        int f = SYS(open(PATH_OF("f"), O_WRONLY | O_CREAT | O_APPEND, 0600));
        pid_t kid = SYS(fork());
        if (kid == 0) {
            guest_await_go();
            for (int i = 0; i < 100; i++)
                SYS(write(f, "child\n", 6));
            _exit(0);
        }
        guest_ready();
        for (int i = 0; i < 100; i++)
            SYS(write(f, "owner\n", 6));
        guest_reap(kid, 0);
        SYS(fstat(f, &st));
        CHECK_EQ("size", 1200, st.st_size);
    } else if (guest_is(argv, "fd_reopened")) {
        int f = make("f", "0123456789"), g = SYS(open((sprintf(buf, "/proc/self/fd/%d", f), buf), O_RDONLY));
        SYS(lseek(g, 4, SEEK_SET));
        guest_ready();
        CHECK_EQ("its own offset", 4, lseek(g, 0, SEEK_CUR)); CHECK_EQ("the other's", 10, lseek(f, 0, SEEK_CUR));
        CHECK_EQ("cannot write", -1, write(g, "x", 1));
    } else if (guest_is(argv, "dev_fd")) {
        // A script's /dev/fd/N and /dev/stdin.
        int p[2];
        SYS(pipe(p));
        int d = SYS(open("/dev/fd", O_RDONLY | O_DIRECTORY)), q = SYS(open((sprintf(buf, "/dev/fd/%d", p[0]), buf), O_RDONLY | O_NONBLOCK));
        SYS(write(p[1], "abc", 3));
        guest_ready();
        CHECK_EQ("read", 3, SYS(read(q, buf, 9)));
        sprintf(b, "%d", p[1]);
        SYS(faccessat(d, b, F_OK, 0));
        CHECK_EQ("blocking", 0, fcntl(p[0], F_GETFL) & O_NONBLOCK);
    } else if (guest_is(argv, "cwd_deleted")) {
        SYS(mkdir(PATH_OF("d"), 0700)), SYS(chdir(PATH_OF("d"))), SYS(rmdir(PATH_OF("d")));
        int dot = SYS(open(".", O_RDONLY | O_DIRECTORY));
        guest_ready();
        CHECK(!getcwd(buf, sizeof buf));
        CHECK_EQ("error", ENOENT, errno);
        CHECK_EQ("create", -1, open("x", O_CREAT | O_RDWR, 0600));
        struct stat now;
        SYS(fstat(dot, &st)), SYS(stat(".", &now));
        CHECK_EQ("one folder", st.st_ino, now.st_ino);
    } else if (guest_is(argv, "root_dir")) {
        int r = SYS(open("/", O_RDONLY | O_DIRECTORY)), p = SYS(open("/", O_PATH)), dev = SYS(open("/dev", O_RDONLY | O_DIRECTORY)), shm = SYS(open("/dev/shm", O_RDONLY | O_DIRECTORY)), pts = SYS(open("/dev/pts", O_PATH | O_DIRECTORY));
        guest_ready();
        SYS(faccessat(r, "tmp", F_OK, 0)), SYS(faccessat(p, "tmp", F_OK, 0)), SYS(faccessat(dev, "null", F_OK, 0)), SYS(fstat(shm, &st)), SYS(fstat(pts, &st));
    } else if (guest_is(argv, "socket_path")) {
        // O_PATH of a socket, a fifo and a device.
        struct sockaddr_un u = {.sun_family = AF_UNIX};
        int s = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
        SYS(bind(s, (void *)guest_path(u.sun_path, "s") - offsetof(struct sockaddr_un, sun_path), sizeof u)), SYS(listen(s, 1));
        SYS(mkfifo(PATH_OF("p"), 0600));
        int o[3] = {SYS(open(PATH_OF("s"), O_PATH)), SYS(open(PATH_OF("p"), O_PATH)), SYS(open("/dev/null", O_PATH))}, kind[3] = {S_IFSOCK, S_IFIFO, S_IFCHR};
        guest_ready();
        for (int i = 0; i < 3; i++) {
            SYS(fstat(o[i], &st));
            CHECK_EQ("kind", kind[i], st.st_mode & S_IFMT);
            CHECK(fcntl(o[i], F_GETFL) & O_PATH);
        }
        int c = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
        sprintf(u.sun_path, "/proc/self/fd/%d", o[0]);
        SYS(connect(c, (void *)&u, sizeof u));
    } else if (guest_is(argv, "o_tmpfile_linkat")) {
        int f = open(guest_dir, O_TMPFILE | O_RDWR, 0640);
        if (f < 0)
            SKIP("no O_TMPFILE here");
        SYS(write(f, "content", 7));
        guest_ready();
        SYS(fstat(f, &st));
        CHECK_EQ("mode", 0640, st.st_mode & 0777);
        sprintf(buf, "/proc/self/fd/%d", f);
        SYS(linkat(AT_FDCWD, buf, AT_FDCWD, PATH_OF("named"), AT_SYMLINK_FOLLOW));
        SYS(stat(PATH_OF("named"), &st));
        CHECK_EQ("size", 7, st.st_size);
    } else if (guest_is(argv, "posix_lock_fork")) {
        // A child has none of its parent's record locks; closing any descriptor of the file drops them all.
        int f = make("f", "0123456789");
        struct flock w = range(F_WRLCK, 2, 3), r = range(F_RDLCK, 7, 1);
        SYS(fcntl(f, F_SETLK, &w)), SYS(fcntl(f, F_SETLK, &r));
        pid_t kid = SYS(fork());
        if (kid == 0) {
            struct flock mine = range(F_WRLCK, 0, 1), l = range(F_WRLCK, 2, 1);
            SYS(fcntl(f, F_SETLK, &mine));
            guest_note("locked");
            guest_await("seen");
            SYS(fcntl(f, F_GETLK, &l));
            CHECK_EQ("parent's", F_WRLCK, l.l_type); CHECK_EQ("owner", getppid(), l.l_pid);
            _exit(fcntl(f, F_SETLK, &l) == 0 && l.l_type != F_UNLCK);
        }
        guest_await("locked");
        guest_ready();
        struct flock l = range(F_WRLCK, 0, 1);
        SYS(fcntl(f, F_GETLK, &l));
        CHECK_EQ("child's", kid, l.l_pid);
        guest_note("seen");
        guest_reap(kid, 0);
        int g = SYS(open(PATH_OF("f"), O_RDONLY));
        CHECK_EQ("held", F_WRLCK, taken(SYS(open(PATH_OF("f"), O_RDWR)), 3));
        close(g);
        CHECK_EQ("dropped", F_UNLCK, taken(SYS(open(PATH_OF("f"), O_RDWR)), 3));
    } else if (guest_is(argv, "ofd_fork") || guest_is(argv, "ofd_convert")) {
        int f = make("f", "0123456789"), other = SYS(open(PATH_OF("f"), O_RDWR));
        struct flock w = range(F_WRLCK, 1, 0), r = range(F_RDLCK, 1, 4);
        SYS(fcntl(f, F_OFD_SETLK, &w));
        if (guest_is(argv, "ofd_convert"))
            SYS(fcntl(f, F_OFD_SETLK, &r));
        pid_t kid = SYS(fork());
        if (kid == 0) {
            guest_await_go();
            struct flock u = range(F_UNLCK, 8, 1);
            _exit(fcntl(f, F_OFD_SETLK, &u) != 0);
        }
        guest_ready();
        CHECK_EQ("before it", F_UNLCK, taken(other, 0));
        CHECK_EQ("first part", guest_is(argv, "ofd_convert") ? F_RDLCK : F_WRLCK, taken(other, 2));
        CHECK_EQ("to the end", F_WRLCK, taken(other, 1000));
        guest_reap(kid, 0);
        CHECK_EQ("unlocked by the child", F_UNLCK, taken(other, 8));
        close(f);
        CHECK_EQ("with the last descriptor", F_UNLCK, taken(other, 2));
    } else if (guest_is(argv, "flock_convert") || guest_is(argv, "flock_dup_close")) {
        int f = make("f", ""), g = SYS(open(PATH_OF("f"), O_RDONLY)), h = SYS(dup(f));
        SYS(flock(f, LOCK_EX)), SYS(flock(h, LOCK_SH)), SYS(flock(g, LOCK_SH));
        close(f);
        guest_ready();
        CHECK_EQ("shared by two", -1, flock(g, LOCK_EX | LOCK_NB));
        // A failed conversion may lose the lock that was held.
        SYS(flock(g, LOCK_SH));
        SYS(flock(h, LOCK_UN));
        SYS(flock(g, LOCK_EX | LOCK_NB));
    } else if (guest_is(argv, "lock_waiter_fork")) {
        // Three in a queue for a record lock: each gets it once.
        int f = make("f", "0");
        struct flock w = range(F_WRLCK, 0, 1), u = range(F_UNLCK, 0, 1);
        SYS(fcntl(f, F_SETLK, &w));
        pid_t kid[3];
        for (int i = 0; i < 3; i++)
            if ((kid[i] = SYS(fork())) == 0) {
                SYS(fcntl(f, F_SETLKW, &w));
                SYS(pread(f, b, 1, 0));
                b[0]++;
                SYS(pwrite(f, b, 1, 0));
                SYS(fcntl(f, F_SETLK, &u));
                _exit(0);
            }
        for (int i = 0; i < 3; i++)
            guest_await_in(kid[i], SYS_fcntl);
        guest_ready();
        SYS(pread(f, b, 1, 0));
        CHECK_EQ("nobody before", '0', b[0]);
        SYS(fcntl(f, F_SETLK, &u));
        for (int i = 0; i < 3; i++)
            guest_reap(kid[i], 0);
        SYS(pread(f, b, 1, 0));
        CHECK_EQ("each once", '3', b[0]);
    } else if (guest_is(argv, "symlink_loop")) {
        // Opened below a link to a folder that points elsewhere now.
        SYS(mkdir(PATH_OF("d"), 0700)), SYS(mkdir(PATH_OF("e"), 0700)), SYS(symlink("d", PATH_OF("way")));
        int f = make("way/f", "deep");
        SYS(unlink(PATH_OF("way"))), SYS(symlink("e", PATH_OF("way")));
        guest_ready();
        SYS(pread(f, b, 4, 0));
        CHECK_STR("content", "deep", b);
    } else if (guest_is(argv, "fifo_path")) {
        // Opened for both, then for each: one pipe.
        SYS(mkfifo(PATH_OF("p"), 0600));
        int both = SYS(open(PATH_OF("p"), O_RDWR)), r = SYS(open(PATH_OF("p"), O_RDONLY | O_NONBLOCK)), w = SYS(open(PATH_OF("p"), O_WRONLY | O_APPEND));
        SYS(write(w, "abc", 3)), SYS(write(both, "def", 3));
        guest_ready();
        CHECK_EQ("read", 6, SYS(read(r, b, 9)));
        CHECK_STR("in order", "abcdef", b);
        close(both), close(w);
        CHECK_EQ("end", 0, SYS(read(r, b, 9)));
        int again = SYS(open(PATH_OF("p"), O_WRONLY));
        SYS(write(again, "x", 1));
        CHECK_EQ("read", 1, SYS(read(r, b, 9)));
    } else if (guest_is(argv, "readahead")) {
        FILE *f = fopen(PATH_OF("f"), "w+");
        for (int i = 0; i < 3000; i++)
            fprintf(f, "line %d\n", i);
        rewind(f);
        for (int i = 0; i < 100; i++)
            CHECK(fgets(buf, 99, f));
        FILE *p = popen("seq 1 100000", "r");
        CHECK(fgets(b, 9, p));
        guest_ready();
        CHECK(fgets(buf, 99, f));
        CHECK_STR("next", "line 100\n", buf);
        int n = 1;
        for (; fgets(b, 9, p); n++)
            CHECK_EQ("number", n + 1, atoi(b));
        CHECK_EQ("all", 100000, n);
        CHECK_EQ("status", 0, pclose(p));
    } else if (guest_is(argv, "truncated_open")) {
        int f = make("f", "0123456789");
        SYS(ftruncate(f, 4));
        guest_ready();
        CHECK_EQ("offset", 10, lseek(f, 0, SEEK_CUR));
        SYS(write(f, "x", 1));
        SYS(fstat(f, &st));
        CHECK_EQ("size", 11, st.st_size);
    } else if (guest_is(argv, "big_offset")) {
        int f = make("f", "");
        SYS(lseek(f, 1LL << 40, SEEK_SET));
        guest_ready();
        CHECK_EQ("offset", 1LL << 40, lseek(f, 0, SEEK_CUR));
    } else {
        // Two streams of one folder, at other places; one shared with a child.
        SYS(mkdir(PATH_OF("d"), 0700));
        for (int i = 0; i < 300; i++)
            sprintf(b, "d/%d", i), guest_note(b);
        DIR *one = opendir(PATH_OF("d")), *two = opendir(PATH_OF("d"));
        int n = 0, m = 0;
        // The kernel's cursor is at the end of a buffer that is not used up.
        for (; n < 10; n++)
            readdir(one);
        while (readdir(two))
            m++;
        guest_ready();
        CHECK_EQ("end", 0, readdir(two) != NULL);
        while (readdir(one))
            n++;
        CHECK_EQ("entries", m, n);
    }
    return 0;
}
