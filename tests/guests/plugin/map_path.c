// ckpt_restart --map-path: files of one folder are opened in another, where they have the same names; mapped ones too.
// restart: --map-path @DIR@/work/here=@DIR@/work/there
#include "../guest.h"
#include "../../../include/ckpt/ckpt.h"
static int make(const char *folder, const char *name, const char *text)
{
    char path[256];
    sprintf(path, "%s/%s", guest_dir, folder);
    mkdir(path, 0700);
    sprintf(path, "%s/%s/%s", guest_dir, folder, name);
    int fd = SYS(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    CHECK_EQ("write", 8, write(fd, text, 8));
    return fd;
}
int main(void)
{
    char seen[9] = "", link[256] = "", path[64];
    int fd = make("here", "file", "here....");
    SYS(close(make("there", "file", "there...")));
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    int folder = SYS(open(PATH_OF("here"), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    SYS(chdir(PATH_OF("here")));
    SYS(lseek(fd, 4, SEEK_SET));
    guest_ready();
    int back = ckpt_restarts() > 0;
    const char *now = back ? "/there" : "/here";
    CHECK_EQ("offset", 4, lseek(fd, 0, SEEK_CUR));
    CHECK_EQ("read", 8, pread(fd, seen, 8, 0));
    CHECK_STR("content", back ? "there..." : "here....", seen);
    CHECK_EQ("mapped", 0, memcmp(map, seen, 8));
    sprintf(path, "/proc/self/fd/%d", folder);
    CHECK(readlink(path, link, sizeof link - 1) > 0);
    CHECK_STR("folder", now, strrchr(link, '/'));
    CHECK(getcwd(link, sizeof link));
    CHECK_STR("current folder", now, strrchr(link, '/'));
    return 0;
}
