// Descriptors in flight of every shape: only there, in themselves, in one another, between data, an epoll, a listener.
// args: only itself nested between epoll listener shared many peer dgram
#include "../guest.h"
static void put(int s, const char *data, size_t len, const int *fds, int n)
{
    char control[CMSG_SPACE(sizeof(int) * 253)] = {0};
    struct iovec iov = {(void *)data, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof(int) * n)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(sizeof(int) * n);
    memcpy(CMSG_DATA(h), fds, sizeof(int) * n);
    CHECK_EQ("sendmsg", (long)len, SYS(sendmsg(s, &m, 0)));
}
static int take(int s, char *data, size_t len, int *fds, int room)
{
    char control[CMSG_SPACE(sizeof(int) * 253)] = {0};
    struct iovec iov = {data, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    long got = SYS(recvmsg(s, &m, 0));
    CHECK(got >= 0 && got <= (long)len);
    data[got] = 0;
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    if (!h)
        return 0;
    int n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    CHECK(n <= room);
    memcpy(fds, CMSG_DATA(h), n * sizeof(int));
    return n;
}
int main(int argc, char **argv)
{
    (void)argc;
    char buf[64];
    int s[2], p[2], fds[300], got[300];
    SYS(socketpair(AF_UNIX, guest_is(argv, "dgram") ? SOCK_DGRAM : SOCK_STREAM, 0, s));
    SYS(pipe(p));
    CHECK_EQ("write", 4, write(p[1], "pipe", 4));
    if (guest_is(argv, "only") || guest_is(argv, "dgram")) {
        // Both ends of the pipe, and nobody holds either.
        put(s[0], "a", 1, p, 2);
        close(p[0]), close(p[1]);
        guest_ready();
        CHECK_EQ("descriptors", 2, take(s[1], buf, 1, got, 2));
        CHECK_EQ("more", 1, write(got[1], "!", 1));
        CHECK_EQ("read", 5, read(got[0], buf, sizeof buf));
        CHECK(memcmp(buf, "pipe!", 5) == 0);
    } else if (guest_is(argv, "itself")) {
        put(s[0], "x", 1, s, 2);
        close(s[0]);
        guest_ready();
        CHECK_EQ("descriptors", 2, take(s[1], buf, 1, got, 2));
        CHECK_EQ("send", 2, send(got[0], "hi", 2, 0));
        CHECK_EQ("recv", 2, recv(s[1], buf, 2, 0));
    } else if (guest_is(argv, "nested")) {
        int t[2], u[2];
        SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, t));
        SYS(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, u));
        put(u[0], "inner", 5, p, 1);
        put(t[0], "middle", 6, u, 2);
        put(s[0], "outer", 5, t, 2);
        close(p[0]), close(u[0]), close(u[1]), close(t[0]), close(t[1]);
        guest_ready();
        CHECK_EQ("outer", 2, take(s[1], buf, 10, got, 2));
        CHECK_STR("outer", "outer", buf);
        CHECK_EQ("middle", 2, take(got[1], buf, 10, fds, 2));
        CHECK_STR("middle", "middle", buf);
        CHECK_EQ("inner", 1, take(fds[1], buf, 10, got, 2));
        CHECK_STR("inner", "inner", buf);
        CHECK_EQ("read", 4, read(got[0], buf, sizeof buf));
    } else if (guest_is(argv, "between")) {
        CHECK_EQ("send", 5, send(s[0], "first", 5, 0));
        put(s[0], "AA", 2, p, 1);
        put(s[0], "BB", 2, p + 1, 1);
        CHECK_EQ("send", 4, send(s[0], "last", 4, 0));
        close(p[0]);
        guest_ready();
        CHECK_EQ("plain", 5, recv(s[1], buf, 5, 0));
        CHECK_EQ("one", 1, take(s[1], buf, 60, got, 2));
        CHECK_STR("data", "AA", buf);
        CHECK_EQ("two", 1, take(s[1], buf, 60, fds, 2));
        CHECK_STR("data", "BB", buf);
        CHECK_EQ("none", 0, take(s[1], buf, 60, fds + 1, 2));
        CHECK_STR("data", "last", buf);
        CHECK_EQ("read", 4, read(got[0], buf, sizeof buf));
    } else if (guest_is(argv, "epoll")) {
        int ep = SYS(epoll_create1(0)), ev = SYS(eventfd(3, 0));
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = 77};
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
        fds[0] = ep, fds[1] = ev;
        put(s[0], "e", 1, fds, 2);
        close(ep), close(ev);
        guest_ready();
        CHECK_EQ("descriptors", 2, take(s[1], buf, 1, got, 2));
        CHECK_EQ("ready", 1, epoll_wait(got[0], &e, 1, 0));
        CHECK_EQ("data", 77, e.data.u32);
        uint64_t v;
        CHECK_EQ("read", 8, read(got[1], &v, 8));
        CHECK_EQ("counter", 3, v);
    } else if (guest_is(argv, "listener")) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        guest_path(a.sun_path, "l");
        int l = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
        SYS(bind(l, (void *)&a, sizeof a));
        SYS(listen(l, 5));
        put(s[0], "l", 1, &l, 1);
        close(l);
        guest_ready();
        int c = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
        SYS(connect(c, (void *)&a, sizeof a));
        CHECK_EQ("descriptors", 1, take(s[1], buf, 1, got, 1));
        int n = SYS(accept(got[0], NULL, NULL));
        CHECK_EQ("send", 2, send(c, "ab", 2, 0));
        CHECK_EQ("recv", 2, recv(n, buf, 2, 0));
    } else if (guest_is(argv, "shared")) {
        int f = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT, 0600)), again[2] = {f, f};
        CHECK_EQ("write", 6, write(f, "abcdef", 6));
        put(s[0], "1", 1, again, 2);
        put(s[0], "2", 1, &f, 1);
        guest_ready();
        CHECK_EQ("two", 2, take(s[1], buf, 1, got, 2));
        CHECK_EQ("one", 1, take(s[1], buf, 1, fds, 1));
        SYS(lseek(f, 2, SEEK_SET));
        CHECK_EQ("same offset", 2, lseek(got[0], 0, SEEK_CUR));
        CHECK_EQ("same offset", 2, lseek(got[1], 0, SEEK_CUR));
        CHECK_EQ("same offset", 2, lseek(fds[0], 0, SEEK_CUR));
    } else if (guest_is(argv, "many")) {
        for (int i = 0; i < 250; i++)
            fds[i] = SYS(dup(p[0]));
        put(s[0], "m", 1, fds, 250);
        for (int i = 0; i < 250; i++)
            close(fds[i]);
        guest_ready();
        CHECK_EQ("descriptors", 250, take(s[1], buf, 1, got, 253));
        CHECK_EQ("read", 4, read(got[249], buf, sizeof buf));
    } else {
        // The peer of the socket is in its own queue, all other descriptors are closed.
        put(s[0], "p", 1, &s[0], 1);
        SYS(send(s[1], "back", 4, 0));
        close(s[0]);
        guest_ready();
        CHECK_EQ("descriptors", 1, take(s[1], buf, 1, got, 1));
        CHECK_EQ("recv", 4, recv(got[0], buf, sizeof buf, 0));
    }
    return 0;
}
