// Names that a line of /proc can mislead about: newlines, spaces, "(deleted)", backslashes, quotes; very deep folders.
// args: deleted_suffix newline mapped spaces folder deep_cwd deep_file comm socket fifo long_name not_utf8 program
#include "../guest.h"
static char buf[8192];
static int make(const char *name, const char *text)
{
    int f = SYS(open(PATH_OF(name), O_RDWR | O_CREAT | O_TRUNC, 0600));
    SYS(write(f, text, strlen(text)));
    return f;
}
static void check(int f, const char *text)
{
    memset(buf, 0, sizeof buf);
    SYS(pread(f, buf, sizeof buf - 1, 0));
    CHECK_STR("content", text, buf);
}
static void same_file(int f, const char *name)
{
    struct stat a, b;
    SYS(fstat(f, &a)), SYS(stat(PATH_OF(name), &b));
    CHECK_EQ("still that file", b.st_ino, a.st_ino);
}
int main(int argc, char **argv)
{
    CHECK(argc > 1);
    const char *odd = guest_is(argv, "deleted_suffix") ? "kept (deleted)" : guest_is(argv, "newline") ? "two\nlines\n" : guest_is(argv, "spaces") ? " a  b \t\\040\\ \"c\" 'd' " : guest_is(argv, "not_utf8") ? "\xff\xfe\x80 \xc3" : NULL;
    if (odd) {
        // One open with that name, and one that has lost it.
        int f = make(odd, "first"), g = make(odd, "first");
        SYS(lseek(f, 3, SEEK_SET));
        close(g);
        char other[64];
        sprintf(other, "%s2", odd);
        g = make(other, "gone");
        SYS(unlink(PATH_OF(other)));
        guest_ready();
        CHECK_EQ("offset", 3, lseek(f, 0, SEEK_CUR));
        check(f, "first"), check(g, "gone");
        same_file(f, odd);
        SYS(pwrite(f, "F", 1, 0));
        check(f, "First");
    } else if (guest_is(argv, "mapped")) {
        const char *names[] = {"map\n7f00-7f01 rw-s x", "map (deleted)", "map with  spaces ", "/dev/zero (deleted)" + 5};
        char *m[4], *p[4];
        for (int i = 0; i < 4; i++) {
            int f = make(names[i], "mapped");
            SYS(ftruncate(f, 3 * 4096));
            m[i] = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
            p[i] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, f, 4096);
            CHECK(m[i] != MAP_FAILED && p[i] != MAP_FAILED);
            sprintf(m[i] + 8192, "shared %d", i), sprintf(p[i], "private %d", i);
            close(f);
        }
        guest_ready();
        for (int i = 0; i < 4; i++) {
            char want[32];
            sprintf(want, "shared %d", i); CHECK_STR("shared", want, m[i] + 8192);
            sprintf(want, "private %d", i); CHECK_STR("private", want, p[i]);
            m[i][0] = 'M';
            int f = SYS(open(PATH_OF(names[i]), O_RDONLY));
            SYS(read(f, buf, 6));
            CHECK_EQ("in the file", 'M', buf[0]);
            close(f);
        }
    } else if (guest_is(argv, "folder")) {
        const char *names[] = {"dir (deleted)", "dir\nline", "dir  two"};
        int d[3];
        for (int i = 0; i < 3; i++) {
            SYS(mkdir(PATH_OF(names[i]), 0700));
            d[i] = SYS(open(PATH_OF(names[i]), O_RDONLY | O_DIRECTORY));
        }
        SYS(fchdir(d[1]));
        guest_ready();
        for (int i = 0; i < 3; i++) {
            close(SYS(openat(d[i], "inside", O_CREAT | O_WRONLY, 0600)));
            sprintf(buf, "%s/inside", names[i]);
            SYS(access(PATH_OF(buf), F_OK));
        }
        SYS(access("inside", F_OK));
    } else if (guest_is(argv, "deep_cwd") || guest_is(argv, "deep_file")) {
        // 30 folders of 200 letters: longer than any path that a system call takes.
        char name[201];
        memset(name, 'd', 200), name[200] = 0;
        SYS(chdir(PATH_OF(".")));
        for (int i = 0; i < 30; i++)
            SYS(mkdir(name, 0700)), SYS(chdir(name));
        int f = SYS(open("bottom", O_RDWR | O_CREAT, 0600));
        SYS(write(f, "deep", 4));
        if (guest_is(argv, "deep_file"))
            SYS(chdir("/"));
        else
            close(f);
        guest_refused(guest_is(argv, "deep_file") ? "File name too long" : "working directory");
        guest_ready();
        if (guest_is(argv, "deep_cwd"))
            f = SYS(open("bottom", O_RDWR));
        check(f, "deep");
    } else if (guest_is(argv, "comm")) {
        SYS(prctl(PR_SET_NAME, ") S 1 1 1 ("));
        pid_t kid = SYS(fork());
        if (kid == 0) {
            SYS(prctl(PR_SET_NAME, "a\nb (c) R 0"));
            guest_await_go();
            SYS(prctl(PR_GET_NAME, buf));
            CHECK_STR("child's name", "a\nb (c) R 0", buf);
            _exit(getppid() == 1 ? 9 : 3);
        }
        guest_ready();
        SYS(prctl(PR_GET_NAME, buf));
        CHECK_STR("name", ") S 1 1 1 (", buf);
        guest_reap(kid, 3);
    } else if (guest_is(argv, "socket")) {
        struct sockaddr_un u = {.sun_family = AF_UNIX}, w = u;
        SYS(chdir(PATH_OF(".")));
        strcpy(u.sun_path, "sock (deleted)\n x"), memcpy(w.sun_path, "\0a\0b\n\xff c", 8);
        w.sun_path[9] = guest_unique() & 0xff, w.sun_path[10] = guest_unique() >> 8;
        int l = SYS(socket(AF_UNIX, SOCK_STREAM, 0)), a = SYS(socket(AF_UNIX, SOCK_DGRAM, 0));
        SYS(bind(l, (void *)&u, sizeof u)), SYS(listen(l, 3));
        SYS(bind(a, (void *)&w, offsetof(struct sockaddr_un, sun_path) + 11));
        guest_ready();
        int c = SYS(socket(AF_UNIX, SOCK_STREAM, 0)), s = SYS(socket(AF_UNIX, SOCK_DGRAM, 0));
        SYS(connect(c, (void *)&u, sizeof u));
        SYS(write(c, "x", 1)), SYS(read(SYS(accept(l, NULL, NULL)), buf, 1));
        SYS(sendto(s, "hello", 5, 0, (void *)&w, offsetof(struct sockaddr_un, sun_path) + 11));
        CHECK_EQ("datagram", 5, recv(a, buf, 9, MSG_DONTWAIT));
    } else if (guest_is(argv, "fifo")) {
        SYS(mkfifo(PATH_OF("pipe (deleted)"), 0600)), SYS(mkfifo(PATH_OF("pipe\nx"), 0600));
        int a = SYS(open(PATH_OF("pipe (deleted)"), O_RDWR)), b = SYS(open(PATH_OF("pipe\nx"), O_RDWR | O_NONBLOCK));
        SYS(write(a, "one", 3)), SYS(write(b, "two", 3));
        guest_ready();
        int n = SYS(open(PATH_OF("pipe\nx"), O_RDONLY | O_NONBLOCK));
        CHECK_EQ("queued", 3, SYS(read(a, buf, 9))); CHECK_EQ("by name", 3, SYS(read(n, buf, 9)));
        CHECK(!memcmp(buf, "two", 3));
    } else if (guest_is(argv, "long_name")) {
        char name[256];
        memset(name, 'n', 255), name[255] = 0;
        SYS(chdir(PATH_OF(".")));
        int f = SYS(open(name, O_RDWR | O_CREAT, 0600)), g;
        name[0] = 'm';
        g = SYS(open(name, O_RDWR | O_CREAT, 0600));
        SYS(write(f, "kept", 4)), SYS(write(g, "gone", 4)), SYS(unlink(name));
        guest_ready();
        check(f, "kept"), check(g, "gone");
    } else {
        // The program itself has such a name.
        if (argc == 2) {
            int in = SYS(open("/proc/self/exe", O_RDONLY)), out = SYS(open(PATH_OF("prog (deleted)\n 1"), O_WRONLY | O_CREAT, 0700));
            for (int n; (n = SYS(read(in, buf, sizeof buf))) > 0;)
                SYS(write(out, buf, n));
            close(in), close(out);
            execl(PATH_OF("prog (deleted)\n 1"), "a b", "program", "again", NULL);
            guest_fail("exec: %s", strerror(errno));
        }
        guest_ready();
        int n = SYS(readlink("/proc/self/exe", buf, sizeof buf - 1));
        buf[n] = 0;
        CHECK_STR("itself", PATH_OF("prog (deleted)\n 1"), buf);
    }
    return 0;
}
