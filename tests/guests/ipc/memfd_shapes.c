// Memory files: sealed while mapped, read-only views, reopened with offsets of their own, in flight, executable, huge, a deleted /dev/shm file, times and attributes.
// args: sealed future views inflight deleted_shm secret exec hole attributes
#include "../guest.h"
#include <sys/xattr.h>
int main(int argc, char **argv)
{
    (void)argc;
    char path[64], buf[64] = {0};
    int fd = SYS(memfd_create("shape", MFD_ALLOW_SEALING | MFD_CLOEXEC));
    SYS(ftruncate(fd, 3 * 4096));
    char *map = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    strcpy(map + 4000, "across a page");
    if (guest_is(argv, "sealed")) {
        int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
        SYS(munmap(map, 3 * 4096));
        SYS(fcntl(fd, F_ADD_SEALS, seals));
        map = mmap(NULL, 3 * 4096, PROT_READ, MAP_SHARED, fd, 0);
        char *priv = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
        CHECK(map != MAP_FAILED && priv != MAP_FAILED);
        priv[5] = 'p';
        guest_ready();
        CHECK_EQ("seals", seals, fcntl(fd, F_GET_SEALS));
        CHECK_STR("content", "across a page", map + 4000);
        CHECK_EQ("private", 'p', priv[5]);
        CHECK_EQ("write", -1, pwrite(fd, "x", 1, 0));
        CHECK_EQ("grow", -1, ftruncate(fd, 1 << 20));
    } else if (guest_is(argv, "attributes")) {
        struct timespec then[2] = {{1000000000, 5}, {900000000, 7}};
        struct stat st;
        int has = fsetxattr(fd, "user.color", "blue", 4, 0) == 0;
        SYS(futimens(fd, then));
        SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
        guest_ready();
        SYS(fstat(fd, &st));
        CHECK_EQ("last change", 900000000, st.st_mtim.tv_sec);
        CHECK_EQ("ns", 7, st.st_mtim.tv_nsec);
        CHECK(!has || (fgetxattr(fd, "user.color", buf, sizeof buf) == 4 && !strcmp(buf, "blue")));
    } else if (guest_is(argv, "future")) {
        SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
        guest_ready();
        strcpy(map, "still writable");
        CHECK_EQ("read", 14, SYS(pread(fd, buf, 14, 0)));
        CHECK_STR("through the map", "still writable", buf);
        CHECK_EQ("write", -1, pwrite(fd, "x", 1, 0));
        CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    } else if (guest_is(argv, "views")) {
        sprintf(path, "/proc/self/fd/%d", fd);
        int r = SYS(open(path, O_RDONLY)), w = SYS(open(path, O_RDWR | O_APPEND));
        SYS(lseek(r, 4000, SEEK_SET));
        char *two = mmap(NULL, 4096, PROT_READ, MAP_SHARED, r, 4096);
        CHECK(two != MAP_FAILED);
        close(fd);
        guest_ready();
        CHECK_EQ("read", 13, SYS(read(r, buf, 13)));
        CHECK_STR("content", "across a page", buf);
        CHECK_EQ("write to a read-only one", -1, write(r, "x", 1));
        SYS(write(w, "end", 3));
        struct stat st;
        SYS(fstat(r, &st));
        CHECK_EQ("size", 3 * 4096 + 3, st.st_size);
        map[4096] = 'Z';
        CHECK_EQ("one memory", 'Z', two[0]);
    } else if (guest_is(argv, "inflight")) {
        int s[2];
        char control[CMSG_SPACE(sizeof(int))] = {0};
        struct iovec iov = {"m", 1};
        struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        SYS(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(h), &fd, sizeof fd);
        SYS(sendmsg(s[0], &m, 0));
        close(fd);
        guest_ready();
        char c;
        iov.iov_base = &c;
        SYS(recvmsg(s[1], &m, 0));
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
        map[0] = 'q';
        CHECK_EQ("read", 1, SYS(pread(fd, buf, 1, 0)));
        CHECK_EQ("the mapped memory", 'q', buf[0]);
    } else if (guest_is(argv, "deleted_shm")) {
        int f = SYS(shm_open(OBJECT("shape"), O_RDWR | O_CREAT, 0600));
        SYS(ftruncate(f, 8192));
        char *a = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
        SYS(shm_unlink(OBJECT("shape")));
        strcpy(a + 10, "parent");
        close(f);
        pid_t kid = SYS(fork());
        if (kid == 0) {
            guest_await_go();
            CHECK_STR("content", "parent", a + 10);
            strcpy(a + 5000, "child");
            _exit(0);
        }
        guest_ready();
        guest_reap(kid, 0);
        CHECK_STR("still shared", "child", a + 5000);
    } else if (guest_is(argv, "secret")) {
        int s = syscall(447, 0);
        if (s < 0)
            SKIP("no memfd_secret");
        SYS(ftruncate(s, 4096));
        char *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s, 0);
        if (m == MAP_FAILED)
            SKIP("no memfd_secret");
        strcpy(m, "secret");
        guest_ready();
        CHECK_STR("content", "secret", m);
    } else if (guest_is(argv, "exec")) {
        unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
        memcpy(map, code, sizeof code);
        int (*f)(void) = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
        CHECK(f != MAP_FAILED);
        CHECK_EQ("runs", 42, f());
        guest_ready();
        CHECK_EQ("runs", 42, f());
        map[1] = 43;
        CHECK_EQ("changed", 43, f());
    } else {
        SYS(ftruncate(fd, 1ll << 33));
        CHECK_EQ("write", 3, pwrite(fd, "far", 3, (1ll << 33) - 3));
        guest_ready();
        struct stat st;
        SYS(fstat(fd, &st));
        CHECK_EQ("size", 1ll << 33, st.st_size);
        CHECK(st.st_blocks < 100);
        CHECK_EQ("read", 3, SYS(pread(fd, buf, 3, (1ll << 33) - 3)));
        CHECK_STR("far", "far", buf);
    }
    return 0;
}
