// O_PATH descriptors of a file, a directory and a symbolic link.
#include "../guest.h"
int main(void)
{
    char c, link[16] = {0}, proc[64];
    guest_note("file");
    SYS(symlink("nowhere", PATH_OF("link")));
    int f = SYS(open(PATH_OF("file"), O_PATH)), d = SYS(open(guest_dir, O_PATH | O_DIRECTORY)),
        l = SYS(open(PATH_OF("link"), O_PATH | O_NOFOLLOW));
    guest_ready();
    CHECK_EQ("read", -1, read(f, &c, 1));
    CHECK_EQ("errno", EBADF, errno);
    CHECK_EQ("flags", O_PATH, fcntl(f, F_GETFL) & O_PATH);
    close(SYS(openat(d, "file", O_RDONLY)));
    CHECK_EQ("readlinkat", 7, SYS(readlinkat(l, "", link, sizeof link)));
    CHECK_STR("link", "nowhere", link);
    sprintf(proc, "/proc/self/fd/%d", f);
    close(SYS(open(proc, O_RDONLY)));
    return 0;
}
