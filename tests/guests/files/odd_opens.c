// Odd opens: O_DIRECT, O_SYNC, O_NOATIME, O_DIRECTORY, through a link that was replaced, /proc and /sys, /dev/full, a block of descriptors, beyond the limit, F_SETOWN, seals on a file, mid-directory.
// args: flags symlink devices limit high ten_thousand owner dir_mid dir_deleted hardlink o_path_deleted proc_self cwd_renamed named_deleted exhausted
#include "../guest.h"
int main(int argc, char **argv)
{
    (void)argc;
    char buf[256] = {0};
    struct stat st, now;
    if (guest_is(argv, "flags")) {
        int f = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT | O_SYNC | O_NOFOLLOW, 0600)), n = open(PATH_OF("f"), O_RDONLY | O_NOATIME),
            d = open(PATH_OF("f"), O_RDWR | O_DIRECT), y = SYS(open(PATH_OF("f"), O_RDWR | O_DSYNC | O_APPEND)), dir = SYS(open(guest_dir, O_RDONLY | O_DIRECTORY | O_NONBLOCK)),
            fd[5] = {f, n, d, y, dir}, want[5];
        for (int i = 0; i < 5; i++)
            want[i] = fd[i] < 0 ? -1 : fcntl(fd[i], F_GETFL);
        guest_ready();
        for (int i = 0; i < 5; i++)
            CHECK_EQ("flags", want[i], fd[i] < 0 ? -1 : fcntl(fd[i], F_GETFL));
    } else if (guest_is(argv, "symlink")) {
        SYS(close(SYS(open(PATH_OF("one"), O_RDWR | O_CREAT, 0600)))), SYS(close(SYS(open(PATH_OF("two"), O_RDWR | O_CREAT, 0600))));
        SYS(symlink("one", PATH_OF("link")));
        int f = SYS(open(PATH_OF("link"), O_RDWR)), l = SYS(open(PATH_OF("link"), O_PATH | O_NOFOLLOW));
        SYS(unlink(PATH_OF("link")));
        SYS(symlink("two", PATH_OF("link")));
        SYS(write(f, "one", 3));
        guest_ready();
        SYS(write(f, "+", 1));
        SYS(stat(PATH_OF("one"), &st));
        CHECK_EQ("the file it was", 4, st.st_size);
        SYS(fstat(l, &now));
        CHECK(S_ISLNK(now.st_mode));
    } else if (guest_is(argv, "devices")) {
        int z = SYS(open("/dev/zero", O_RDWR)), full = SYS(open("/dev/full", O_RDWR)), u = SYS(open("/dev/urandom", O_RDONLY)),
            sys = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY), k = open("/proc/sys/kernel/hostname", O_RDONLY), m = SYS(open("/proc/meminfo", O_RDONLY));
        SYS(read(m, buf, 20));
        char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, z, 0), *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, z, 0);
        map[1] = 7, shared[2] = 9;
        guest_ready();
        CHECK_EQ("zero", 8, read(z, buf, 8));
        CHECK_EQ("full", -1, write(full, "x", 1));
        CHECK_EQ("error", ENOSPC, (write(full, "x", 1), errno));
        CHECK_EQ("urandom", 8, read(u, buf, 8));
        CHECK_EQ("offset in proc", 20, lseek(m, 0, SEEK_CUR));
        CHECK(read(m, buf, 20) > 0);
        if (sys >= 0)
            CHECK(read(sys, buf, 20) > 0);
        if (k >= 0)
            CHECK(read(k, buf, 20) > 0);
        CHECK_EQ("map", 7, map[1]);
        CHECK_EQ("shared map", 9, shared[2]);
        map[4097] = 1, shared[4097] = 1;
    } else if (guest_is(argv, "limit")) {
        // Descriptors above the limit that was lowered afterwards.
        int f = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT, 0600));
        SYS(write(f, "abc", 3));
        int high = SYS(dup2(f, 500)), p[2];
        SYS(pipe(p));
        SYS(dup2(p[0], 501)), SYS(dup2(p[1], 502));
        struct rlimit r = {10, 10}, got;
        SYS(setrlimit(RLIMIT_NOFILE, &r));
        guest_ready();
        SYS(getrlimit(RLIMIT_NOFILE, &got));
        CHECK_EQ("limit", 10, got.rlim_cur);
        CHECK_EQ("hard limit", 10, got.rlim_max);
        CHECK_EQ("offset", 3, lseek(high, 0, SEEK_CUR));
        CHECK_EQ("write", 1, write(502, "x", 1));
        CHECK_EQ("read", 1, read(501, buf, 1));
        CHECK_EQ("no more", -1, fcntl(f, F_DUPFD, 10));
    } else if (guest_is(argv, "exhausted")) {
        // Not one number is free.
        struct rlimit r = {40, 40};
        SYS(setrlimit(RLIMIT_NOFILE, &r));
        int f = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT, 0600)), last = f, n;
        while ((n = dup(f)) >= 0)
            last = n;
        CHECK_EQ("all taken", 39, last);
        guest_ready();
        CHECK_EQ("none free", -1, dup(f));
        CHECK_EQ("write", 2, write(last, "ab", 2));
        CHECK_EQ("shared", 2, lseek(f, 0, SEEK_CUR));
        close(last);
        CHECK_EQ("one free", last, dup(f));
    } else if (guest_is(argv, "high")) {
        struct rlimit r;
        SYS(getrlimit(RLIMIT_NOFILE, &r));
        r.rlim_cur = r.rlim_max;
        SYS(setrlimit(RLIMIT_NOFILE, &r));
        int f = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT, 0600)), at = r.rlim_max > 101000 ? 100000 : r.rlim_max - 1000;
        SYS(write(f, "abc", 3));
        SYS(dup2(f, at)), SYS(dup2(f, 1500));
        close(f);
        guest_ready();
        CHECK_EQ("offset", 3, lseek(at, 0, SEEK_CUR));
        SYS(lseek(1500, 1, SEEK_SET));
        CHECK_EQ("shared", 1, lseek(at, 0, SEEK_CUR));
        CHECK_EQ("nothing else", -1, fcntl(f, F_GETFD));
    } else if (guest_is(argv, "ten_thousand")) {
        struct rlimit r;
        SYS(getrlimit(RLIMIT_NOFILE, &r));
        r.rlim_cur = r.rlim_max;
        SYS(setrlimit(RLIMIT_NOFILE, &r));
        int n = r.rlim_max > 10100 ? 10000 : (int)r.rlim_max - 50;
        for (int i = 0; i < n; i++)
            SYS(i % 3 == 0 ? eventfd(i, 0) : i % 3 == 1 ? open("/dev/null", O_RDWR) : dup(2));
        guest_ready();
        uint64_t v;
        for (int i = 0; i < n; i += 3)
            if (i) {
                CHECK_EQ("read", 8, read(3 + i, &v, 8));
                CHECK_EQ("value", i, v);
            }
    } else if (guest_is(argv, "owner")) {
        int p[2], got;
        SYS(pipe(p));
        SYS(fcntl(p[0], F_SETOWN, getpid())), SYS(fcntl(p[0], F_SETSIG, SIGRTMIN + 2));
        struct f_owner_ex ex = {F_OWNER_TID, getpid()}, now_ex;
        SYS(fcntl(p[1], F_SETOWN_EX, &ex));
        int f = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT, 0600));
        SYS(fcntl(f, F_SETOWN, -getpgrp()));
        guest_ready();
        got = fcntl(p[0], F_GETOWN);
        CHECK_EQ("owner", getpid(), got);
        CHECK_EQ("signal", SIGRTMIN + 2, fcntl(p[0], F_GETSIG));
        SYS(fcntl(p[1], F_GETOWN_EX, &now_ex));
        CHECK_EQ("thread", F_OWNER_TID, now_ex.type);
        CHECK_EQ("id", getpid(), now_ex.pid);
        SYS(fcntl(f, F_GETOWN_EX, &now_ex));
        CHECK_EQ("group", F_OWNER_PGRP, now_ex.type);
        CHECK_EQ("id", getpgrp(), now_ex.pid);
    } else if (guest_is(argv, "dir_mid")) {
        SYS(mkdir(PATH_OF("d"), 0700));
        for (int i = 0; i < 500; i++)
            sprintf(buf, "d/%d", i), guest_note(buf);
        DIR *d = opendir(PATH_OF("d"));
        CHECK(d);
        int n = 0;
        while (n < 200 && readdir(d))
            n++;
        long at = telldir(d);
        guest_ready();
        while (readdir(d))
            n++;
        CHECK_EQ("entries", 502, n);
        seekdir(d, at);
        for (n = 200; readdir(d); n++) {
        }
        CHECK_EQ("again from the middle", 502, n);
        rewinddir(d);
        for (n = 0; readdir(d); n++) {
        }
        CHECK_EQ("from the start", 502, n);
    } else if (guest_is(argv, "dir_deleted")) {
        SYS(mkdir(PATH_OF("d"), 0711));
        int d = SYS(open(PATH_OF("d"), O_RDONLY | O_DIRECTORY)), p = SYS(open(PATH_OF("d"), O_PATH));
        SYS(rmdir(PATH_OF("d")));
        guest_ready();
        SYS(fstat(d, &now));
        CHECK(S_ISDIR(now.st_mode));
        CHECK_EQ("links", 0, now.st_nlink);
        CHECK_EQ("openat", -1, openat(d, "x", O_CREAT | O_RDWR, 0600));
        SYS(fstat(p, &st));
        CHECK_EQ("one folder", now.st_ino, st.st_ino);
        CHECK_EQ("no name", -1, access(PATH_OF("d"), F_OK));
    } else if (guest_is(argv, "hardlink")) {
        int f = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT, 0600));
        SYS(link(PATH_OF("f"), PATH_OF("g")));
        int g = SYS(open(PATH_OF("g"), O_RDWR));
        guest_ready();
        SYS(write(f, "f", 1)), SYS(lseek(g, 0, SEEK_END)), SYS(write(g, "g", 1));
        SYS(fstat(f, &now));
        CHECK_EQ("size", 2, now.st_size);
        CHECK_EQ("links", 2, now.st_nlink);
    } else if (guest_is(argv, "o_path_deleted")) {
        int f = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT, 0600)), p = SYS(open(PATH_OF("f"), O_PATH));
        SYS(write(f, "text", 4));
        SYS(unlink(PATH_OF("f")));
        guest_ready();
        SYS(fstat(f, &st)), SYS(fstat(p, &now));
        CHECK_EQ("one file", st.st_ino, now.st_ino);
        CHECK_EQ("size", 4, now.st_size);
        sprintf(buf, "/proc/self/fd/%d", p);
        int again = SYS(open(buf, O_RDONLY));
        CHECK_EQ("read", 4, SYS(read(again, buf, 64)));
    } else if (guest_is(argv, "proc_self")) {
        int s = SYS(open("/proc/self/status", O_RDONLY)), d = SYS(open("/proc/self/fd", O_RDONLY | O_DIRECTORY)), t = SYS(open("/proc/thread-self/comm", O_RDWR)), p = SYS(open("/proc", O_RDONLY)), ns = SYS(open("/proc/self/ns/uts", O_RDONLY));
        guest_ready();
        CHECK(read(s, buf, 200) > 0);
        CHECK(strstr(buf, "Name:"));
        SYS(faccessat(d, "2", F_OK, 0));
        SYS(write(t, "newname", 7));
        prctl(PR_GET_NAME, buf);
        CHECK_STR("name", "newname", buf);
        SYS(faccessat(p, "self", F_OK, 0));
        SYS(fstat(ns, &now));
    } else if (guest_is(argv, "cwd_renamed")) {
        SYS(mkdir(PATH_OF("d"), 0700));
        SYS(chdir(PATH_OF("d")));
        SYS(rename(PATH_OF("d"), PATH_OF("e")));
        int f = SYS(open("in", O_RDWR | O_CREAT, 0600));
        guest_ready();
        SYS(write(f, "x", 1));
        SYS(stat("in", &now));
        CHECK_EQ("size", 1, now.st_size);
        CHECK(getcwd(buf, sizeof buf));
        CHECK_STR("cwd", PATH_OF("e"), buf);
    } else {
        // A file that is really called like that.
        int f = SYS(open(PATH_OF("x (deleted)"), O_RDWR | O_CREAT, 0600)), g = SYS(open(PATH_OF("y\n\\z"), O_RDWR | O_CREAT, 0600));
        SYS(write(f, "f", 1));
        char *m = mmap(NULL, 4096, PROT_READ, MAP_SHARED, f, 0);
        CHECK(m != MAP_FAILED);
        guest_ready();
        SYS(write(f, "g", 1));
        SYS(stat(PATH_OF("x (deleted)"), &now));
        CHECK_EQ("size", 2, now.st_size);
        CHECK_EQ("mapped", 'g', m[1]);
        SYS(write(g, "g", 1));
        SYS(stat(PATH_OF("y\n\\z"), &now));
        CHECK_EQ("size", 1, now.st_size);
    }
    return 0;
}
