// Files that could not be opened again by their modes: taken away after the open, or never given.
// args: none read_only folder_closed folder_left cwd_closed made_with_none append_only fifo_none fifo_gone exec_only mapped_none
#include "../guest.h"
static char buf[8192];
static int make(const char *name, mode_t mode)
{
    int f = SYS(open(PATH_OF(name), O_RDWR | O_CREAT | O_EXCL, mode));
    SYS(write(f, "content", 7));
    return f;
}
static void check(int f)
{
    memset(buf, 0, 16);
    CHECK_EQ("read", 7, SYS(pread(f, buf, 15, 0)));
    CHECK_STR("content", "content", buf);
}
static void mode_is(int f, mode_t mode)
{
    struct stat st;
    SYS(fstat(f, &st));
    CHECK_EQ("mode", mode, st.st_mode & 07777);
}
int main(int argc, char **argv)
{
    CHECK(argc > 1);
    if (guest_is(argv, "none") || guest_is(argv, "made_with_none")) {
        int made = guest_is(argv, "none") ? 0600 : 0, f = make("f", made), r;
        SYS(fchmod(f, 0600)), r = SYS(open(PATH_OF("f"), O_RDONLY)), SYS(fchmod(f, 0));
        guest_ready();
        check(f), check(r), mode_is(f, 0);
        SYS(write(f, "more", 4));
        CHECK_EQ("read only", -1, write(r, "x", 1));
    } else if (guest_is(argv, "read_only")) {
        int f = make("f", 0600), a = SYS(open(PATH_OF("f"), O_WRONLY | O_APPEND));
        SYS(fchmod(f, 0444));
        guest_ready();
        check(f), mode_is(f, 0444);
        SYS(write(a, "end", 3));
        CHECK_EQ("size", 10, lseek(f, 0, SEEK_END));
    } else if (guest_is(argv, "append_only")) {
        int f = make("f", 0600), w = SYS(open(PATH_OF("f"), O_WRONLY));
        SYS(fchmod(f, 0200)), close(f);
        guest_ready();
        CHECK_EQ("write only", -1, read(w, buf, 1));
        SYS(pwrite(w, "C", 1, 0));
        mode_is(w, 0200);
    } else if (guest_is(argv, "folder_closed") || guest_is(argv, "folder_left")) {
        SYS(mkdir(PATH_OF("d"), 0700)), SYS(mkdir(PATH_OF("d/e"), 0700));
        int f = make("d/e/f", 0600), d = SYS(open(PATH_OF("d/e"), O_RDONLY | O_DIRECTORY));
        SYS(chmod(PATH_OF("d"), guest_is(argv, "folder_left") ? 0600 : 0));
        guest_ready();
        check(f);
        close(SYS(openat(d, "f", O_RDONLY)));
        SYS(chmod(PATH_OF("d"), 0700));
        SYS(unlinkat(d, "f", 0));
    } else if (guest_is(argv, "cwd_closed")) {
        SYS(mkdir(PATH_OF("d"), 0700)), SYS(mkdir(PATH_OF("d/e"), 0700));
        close(make("d/e/f", 0600));
        SYS(chdir(PATH_OF("d/e"))), SYS(chmod("..", 0));
        guest_ready();
        int f = SYS(open("f", O_RDONLY));
        check(f);
        SYS(chmod(PATH_OF("d"), 0700));
    } else if (guest_is(argv, "fifo_none") || guest_is(argv, "fifo_gone")) {
        SYS(mkfifo(PATH_OF("p"), 0600));
        int r = SYS(open(PATH_OF("p"), O_RDONLY | O_NONBLOCK)), w = SYS(open(PATH_OF("p"), O_WRONLY));
        SYS(chmod(PATH_OF("p"), 0));
        SYS(write(w, "abc", 3));
        if (guest_is(argv, "fifo_gone"))
            SYS(unlink(PATH_OF("p")));
        guest_ready();
        mode_is(r, 0);
        CHECK_EQ("queued", 3, SYS(read(r, buf, 9)));
        SYS(write(w, "d", 1));
        CHECK_EQ("later", 1, SYS(read(r, buf, 9)));
    } else if (guest_is(argv, "mapped_none")) {
        int f = make("f", 0600);
        SYS(ftruncate(f, 8192));
        char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0), *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, f, 0);
        SYS(fchmod(f, 0)), close(f);
        strcpy(m + 5000, "shared"), strcpy(p + 100, "private");
        guest_ready();
        CHECK_STR("shared", "shared", m + 5000);
        CHECK_STR("private", "private", p + 100);
        m[0] = 'C';
        SYS(chmod(PATH_OF("f"), 0600));
        f = SYS(open(PATH_OF("f"), O_RDONLY));
        SYS(read(f, buf, 1));
        CHECK_EQ("in the file", 'C', buf[0]);
    } else {
        // A program that may be run and not read.
        if (argc == 2) {
            int in = SYS(open("/proc/self/exe", O_RDONLY)), out = SYS(open(PATH_OF("prog"), O_WRONLY | O_CREAT, 0700));
            for (int n; (n = SYS(read(in, buf, sizeof buf))) > 0;)
                SYS(write(out, buf, n));
            close(in), SYS(fchmod(out, 0111)), close(out);
            execl(PATH_OF("prog"), "prog", "exec_only", "again", NULL);
            guest_fail("exec: %s", strerror(errno));
        }
        guest_ready();
        CHECK_EQ("to be read", geteuid() == 0 ? 0 : -1, access(PATH_OF("prog"), R_OK));
    }
    return 0;
}
