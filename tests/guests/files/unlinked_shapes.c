// Open files without a name: their stat, sparse and large ones, another link elsewhere, the folder gone too, the name taken, O_TMPFILE.
// args: stat sparse link_elsewhere link_beside folder_gone name_taken tmpfile tmpfile_linked renamed_over mapped read_only two_opens grown
#include "../guest.h"
static char big[300000];
int main(int argc, char **argv)
{
    (void)argc;
    char buf[64] = {0}, link_before[300];
    struct stat st, now;
    int fd = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT, 0600));
    SYS(write(fd, "content", 7));
    if (guest_is(argv, "stat")) {
        SYS(fchmod(fd, 04751));
        struct timespec t[2] = {{1000, 5}, {2000, 7}};
        SYS(unlink(PATH_OF("f")));
        SYS(futimens(fd, t));
        SYS(fstat(fd, &st));
        int n = readlink("/proc/self/fd/3", link_before, 299);
        link_before[n > 0 ? n : 0] = 0;
        guest_ready();
        SYS(fstat(fd, &now));
        CHECK_EQ("size", st.st_size, now.st_size);
        CHECK_EQ("mode", st.st_mode, now.st_mode);
        CHECK_EQ("links", 0, now.st_nlink);
        CHECK_EQ("owner", st.st_uid, now.st_uid);
        CHECK_EQ("group", st.st_gid, now.st_gid);
        CHECK_EQ("mtime", 2000, now.st_mtime);
        CHECK_EQ("mtime ns", 7, now.st_mtim.tv_nsec);
        CHECK_EQ("offset", 7, lseek(fd, 0, SEEK_CUR));
        CHECK_EQ("no file", -1, access(PATH_OF("f"), F_OK));
    } else if (guest_is(argv, "sparse")) {
        CHECK_EQ("pwrite", 4, pwrite(fd, "tail", 4, 5ll << 30));
        SYS(unlink(PATH_OF("f")));
        SYS(fstat(fd, &st));
        guest_ready();
        SYS(fstat(fd, &now));
        CHECK_EQ("size", st.st_size, now.st_size);
        CHECK(now.st_blocks < 1000);
        CHECK_EQ("pread", 4, pread(fd, buf, 4, 5ll << 30));
        CHECK(memcmp(buf, "tail", 4) == 0);
    } else if (guest_is(argv, "link_elsewhere") || guest_is(argv, "link_beside")) {
        char *other = PATH_OF("o");
        if (guest_is(argv, "link_elsewhere"))
            SYS(mkdir(PATH_OF("d"), 0700)), SYS(mkdir(PATH_OF("d/e"), 0700)), other = PATH_OF("d/e/o");
        SYS(link(PATH_OF("f"), other));
        SYS(unlink(PATH_OF("f")));
        guest_ready();
        SYS(fstat(fd, &now));
        CHECK_EQ("links", 1, now.st_nlink);
        SYS(stat(other, &st));
        CHECK_EQ("the same file", st.st_ino, now.st_ino);
        SYS(write(fd, "+", 1));
        int o = SYS(open(other, O_RDONLY));
        CHECK_EQ("through the other name", 8, SYS(read(o, buf, 64)));
    } else if (guest_is(argv, "folder_gone")) {
        SYS(mkdir(PATH_OF("d"), 0700));
        int g = SYS(open(PATH_OF("d/g"), O_RDWR | O_CREAT, 0600));
        SYS(write(g, "gone", 4));
        SYS(unlink(PATH_OF("d/g")));
        SYS(rmdir(PATH_OF("d")));
        guest_ready();
        CHECK_EQ("pread", 4, SYS(pread(g, buf, 64, 0)));
        CHECK_STR("content", "gone", buf);
        CHECK_EQ("no folder", -1, access(PATH_OF("d"), F_OK));
    } else if (guest_is(argv, "name_taken") || guest_is(argv, "renamed_over")) {
        int g = SYS(open(PATH_OF("g"), O_RDWR | O_CREAT, 0600));
        SYS(write(g, "new", 3));
        if (guest_is(argv, "name_taken"))
            SYS(unlink(PATH_OF("f")));
        SYS(rename(PATH_OF("g"), PATH_OF("f")));
        guest_ready();
        CHECK_EQ("old", 7, SYS(pread(fd, buf, 64, 0)));
        CHECK_EQ("new", 3, SYS(pread(g, buf, 64, 0)));
        CHECK_EQ("write", 2, write(g, "er", 2));
        int n = SYS(open(PATH_OF("f"), O_RDONLY));
        CHECK_EQ("under the name", 5, SYS(read(n, buf, 64)));
    } else if (guest_is(argv, "tmpfile") || guest_is(argv, "tmpfile_linked")) {
        int t = open(guest_dir, O_TMPFILE | O_RDWR, 0600);
        if (t < 0)
            SKIP("no O_TMPFILE here");
        SYS(write(t, "temp", 4));
        guest_ready();
        CHECK_EQ("pread", 4, SYS(pread(t, buf, 64, 0)));
        SYS(fstat(t, &now));
        CHECK_EQ("links", 0, now.st_nlink);
        if (guest_is(argv, "tmpfile_linked")) {
            char path[64];
            sprintf(path, "/proc/self/fd/%d", t);
            SYS(linkat(AT_FDCWD, path, AT_FDCWD, PATH_OF("linked"), AT_SYMLINK_FOLLOW));
            int l = SYS(open(PATH_OF("linked"), O_RDONLY));
            CHECK_EQ("read", 4, SYS(read(l, buf, 64)));
        }
    } else if (guest_is(argv, "mapped")) {
        guest_fill(big, sizeof big, 3);
        CHECK_EQ("write", (long)sizeof big, pwrite(fd, big, sizeof big, 0));
        char *shared = mmap(NULL, sizeof big, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *private = mmap(NULL, sizeof big, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
        CHECK(shared != MAP_FAILED && private != MAP_FAILED);
        SYS(unlink(PATH_OF("f")));
        shared[5] = 'S', private[6] = 'P';
        guest_ready();
        CHECK_EQ("pread", 8, SYS(pread(fd, buf, 8, 0)));
        CHECK_EQ("shared in the file", 'S', buf[5]);
        CHECK_EQ("private not in it", big[6], buf[6]);
        CHECK_EQ("private", 'P', private[6]);
        CHECK_EQ("pwrite", 1, pwrite(fd, "W", 1, 9));
        CHECK_EQ("still shared", 'W', shared[9]);
        CHECK_EQ("the rest", 0, memcmp(shared + 100, big + 100, sizeof big - 100));
    } else if (guest_is(argv, "read_only")) {
        int r = SYS(open(PATH_OF("f"), O_RDONLY)), w = SYS(open(PATH_OF("f"), O_WRONLY | O_APPEND));
        SYS(fchmod(fd, 0));
        close(fd);
        SYS(unlink(PATH_OF("f")));
        SYS(lseek(r, 3, SEEK_SET));
        guest_ready();
        CHECK_EQ("access", O_RDONLY, fcntl(r, F_GETFL) & O_ACCMODE);
        CHECK_EQ("append", O_APPEND, fcntl(w, F_GETFL) & O_APPEND);
        SYS(write(w, "!", 1));
        CHECK_EQ("read", 5, SYS(read(r, buf, 64)));
        CHECK_STR("content", "tent!", buf);
        SYS(fstat(r, &now));
        CHECK_EQ("mode", 0, now.st_mode & 0777);
    } else if (guest_is(argv, "two_opens")) {
        int r = SYS(open(PATH_OF("f"), O_RDWR));
        SYS(unlink(PATH_OF("f")));
        guest_ready();
        SYS(write(fd, "XY", 2));
        CHECK_EQ("read", 9, SYS(read(r, buf, 64)));
        CHECK_STR("content", "contentXY", buf);
        CHECK_EQ("its own offset", 9, lseek(fd, 0, SEEK_CUR));
    } else {
        // Longer than its content: the hole at the end counts.
        SYS(ftruncate(fd, 100000));
        SYS(unlink(PATH_OF("f")));
        SYS(lseek(fd, 200000, SEEK_SET));
        guest_ready();
        SYS(fstat(fd, &now));
        CHECK_EQ("size", 100000, now.st_size);
        CHECK_EQ("offset beyond the end", 200000, lseek(fd, 0, SEEK_CUR));
        CHECK_EQ("zero", 1, pread(fd, buf, 1, 99999));
        CHECK_EQ("zero", 0, buf[0]);
    }
    return 0;
}
