// UNIX connections that nobody has accepted yet, with what was sent on them: in order, closed since, with descriptors and credentials, from named clients, on a listener whose name is gone, a full backlog; and every way to accept them.
// args: order gone fds creds unlinked relative named flags number children full packets shut poll
#include "../guest.h"
static struct sockaddr_un a = {.sun_family = AF_UNIX};
static socklen_t alen;
static int l, type = SOCK_STREAM;
static int client(const char *text)
{
    int c = SYS(socket(AF_UNIX, type, 0));
    SYS(connect(c, (void *)&a, alen));
    if (text)
        SYS(send(c, text, strlen(text), 0));
    return c;
}
static void expect(int s, const char *text)
{
    char buf[64] = {0};
    CHECK_EQ("bytes", (long)strlen(text), SYS(recv(s, buf, type == SOCK_STREAM ? strlen(text) : sizeof buf, 0)));
    CHECK_STR("text", text, buf);
}
static void answer(int s, int c)
{
    SYS(send(s, "yes", 3, 0));
    expect(c, "yes");
    SYS(send(c, "more", 4, 0));
    expect(s, "more");
}
static volatile pid_t tid;
static void *late(void *arg)
{
    (void)arg;
    tid = gettid();
    return (void *)(long)client("late");
}
int main(int argc, char **argv)
{
    (void)argc;
    int c[6], s, p[2];
    struct sockaddr_un got;
    socklen_t len = sizeof got;
    char b, buf[64];
    alen = sizeof a;
    if (guest_is(argv, "packets"))
        type = SOCK_SEQPACKET;
    if (guest_is(argv, "relative")) {
        SYS(chdir(guest_dir));
        strcpy(a.sun_path, "sock");
    } else if (guest_is(argv, "unlinked") || guest_is(argv, "named") || guest_is(argv, "order"))
        guest_path(a.sun_path, "sock");
    else
        alen = offsetof(struct sockaddr_un, sun_path) + 1 + sprintf(a.sun_path + 1, "ckpt-guest-%d", guest_unique());
    l = SYS(socket(AF_UNIX, type, 0));
    SYS(bind(l, (void *)&a, alen));
    SYS(listen(l, guest_is(argv, "full") ? 1 : 10));
    if (guest_is(argv, "order")) {
        const char *text[] = {"first", NULL, "third", NULL, "fifth"};
        for (int i = 0; i < 5; i++)
            c[i] = client(text[i]);
        guest_ready();
        for (int i = 0; i < 5; i++) {
            s = SYS(accept(l, (void *)&got, &len));
            CHECK_EQ("family", AF_UNIX, got.sun_family);
            CHECK_EQ("no name", 2, len);
            if (text[i])
                expect(s, text[i]);
            CHECK_EQ("nothing else", -1, recv(s, buf, 1, MSG_DONTWAIT));
            answer(s, c[i]);
        }
        c[0] = client("new");
        expect(SYS(accept(l, NULL, NULL)), "new");
    } else if (guest_is(argv, "gone")) {
        close(client("closed"));
        c[0] = client("open");
        close(client(NULL));
        guest_ready();
        s = SYS(accept(l, NULL, NULL));
        expect(s, "closed");
        CHECK_EQ("its end", 0, recv(s, buf, 1, 0));
        s = SYS(accept(l, NULL, NULL));
        expect(s, "open");
        answer(s, c[0]);
        CHECK_EQ("said nothing", 0, recv(SYS(accept(l, NULL, NULL)), buf, 1, 0));
    } else if (guest_is(argv, "fds")) {
        SYS(pipe(p));
        char control[CMSG_SPACE(sizeof(int))] = {0};
        struct iovec io = {"x", 1};
        struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &p[0], sizeof(int));
        c[0] = client("before");
        SYS(sendmsg(c[0], &m, 0));
        SYS(send(c[0], "after", 5, 0));
        close(p[0]);
        SYS(write(p[1], "pipe", 4));
        guest_ready();
        s = SYS(accept(l, NULL, NULL));
        expect(s, "before");
        io.iov_base = &b;
        m.msg_controllen = sizeof control;
        CHECK_EQ("message", 1, SYS(recvmsg(s, &m, 0)));
        CHECK(m.msg_controllen > 0);
        memcpy(&p[0], CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
        CHECK_EQ("through it", 4, SYS(read(p[0], buf, sizeof buf)));
        expect(s, "after");
        answer(s, c[0]);
    } else if (guest_is(argv, "creds")) {
        SYS(setsockopt(l, SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
        pid_t kid = SYS(fork());
        if (kid == 0) {
            c[0] = client("mine");
            guest_note("sent");
            expect(c[0], "yes");
            _exit(0);
        }
        guest_await("sent");
        guest_ready();
        s = SYS(accept(l, NULL, NULL));
        struct ucred who;
        len = sizeof who;
        SYS(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &who, &len));
        CHECK_EQ("peer", kid, who.pid);
        SYS(setsockopt(s, SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
        char control[CMSG_SPACE(sizeof who)] = {0};
        struct iovec io = {buf, sizeof buf};
        struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        CHECK_EQ("message", 4, SYS(recvmsg(s, &m, 0)));
        CHECK(m.msg_controllen > 0);
        memcpy(&who, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof who);
        CHECK_EQ("sender", kid, who.pid);
        SYS(send(s, "yes", 3, 0));
        guest_reap(kid, 0);
    } else if (guest_is(argv, "unlinked") || guest_is(argv, "relative")) {
        c[0] = client("sent");
        SYS(guest_is(argv, "unlinked") ? unlink(a.sun_path) : 0);
        guest_ready();
        s = SYS(accept(l, NULL, NULL));
        expect(s, "sent");
        answer(s, c[0]);
        SYS(getsockname(s, (void *)&got, &len));
        CHECK_STR("name", a.sun_path, got.sun_path);
    } else if (guest_is(argv, "named")) {
        struct sockaddr_un own = {.sun_family = AF_UNIX};
        socklen_t olen = offsetof(struct sockaddr_un, sun_path) + 1 + sprintf(own.sun_path + 1, "ckpt-client-%d", guest_unique());
        for (int i = 0; i < 2; i++) {
            c[i] = SYS(socket(AF_UNIX, type, 0));
            own.sun_path[1] = 'a' + i;
            SYS(bind(c[i], (void *)&own, olen));
            SYS(connect(c[i], (void *)&a, alen));
            SYS(send(c[i], "named", 5, 0));
        }
        close(c[1]);
        guest_ready();
        for (int i = 0; i < 2; i++) {
            len = sizeof got;
            own.sun_path[1] = 'a' + i;
            s = SYS(accept(l, (void *)&got, &len));
            CHECK_EQ("length", olen, len);
            CHECK(memcmp(&own, &got, olen) == 0);
            expect(s, "named");
        }
    } else if (guest_is(argv, "flags")) {
        for (int i = 0; i < 3; i++)
            c[i] = client("flags");
        guest_ready();
        int flags[] = {0, SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK}, lowest = SYS(dup(0));
        close(lowest);
        for (int i = 0; i < 3; i++) {
            len = 1;
            s = SYS(accept4(l, (void *)&got, &len, flags[i]));
            CHECK_EQ("number", lowest++, s);
            CHECK_EQ("true length", 2, len);
            CHECK_EQ("close-on-exec", flags[i] & SOCK_CLOEXEC ? FD_CLOEXEC : 0, fcntl(s, F_GETFD));
            CHECK_EQ("non-blocking", O_RDWR | (flags[i] & SOCK_NONBLOCK), fcntl(s, F_GETFL));
            expect(s, "flags");
        }
        client(NULL);
        CHECK_EQ("an address that is none", -1, accept4(l, (void *)1, (void *)1, 0));
    } else if (guest_is(argv, "number")) {
        c[0] = client("one"), c[1] = client("two");
        guest_ready();
        s = SYS(syscall(SYS_accept, l, NULL, NULL));
        expect(s, "one");
        answer(s, c[0]);
        s = SYS(syscall(SYS_accept4, l, NULL, NULL, SOCK_CLOEXEC));
        CHECK_EQ("close-on-exec", FD_CLOEXEC, fcntl(s, F_GETFD));
        expect(s, "two");
    } else if (guest_is(argv, "children")) {
        // Children that exec'ed nothing and were forked before take from the same backlog.
        pid_t kid[3];
        for (int i = 0; i < 3; i++)
            c[i] = client("work");
        for (int i = 0; i < 3; i++)
            if ((kid[i] = SYS(fork())) == 0) {
                guest_await_go();
                s = SYS(accept(l, NULL, NULL));
                expect(s, "work");
                SYS(send(s, "done", 4, 0));
                _exit(0);
            }
        guest_ready();
        for (int i = 0; i < 3; i++)
            expect(c[i], "done");
        for (int i = 0; i < 3; i++)
            guest_reap(kid[i], 0);
    } else if (guest_is(argv, "full")) {
        c[0] = client("one"), c[1] = client("two");
        pthread_t t = guest_thread(late, NULL);
        AWAIT(tid);
        guest_await_in(tid, SYS_connect);
        guest_ready();
        s = SYS(accept(l, NULL, NULL));
        expect(s, "one");
        expect(SYS(accept(l, NULL, NULL)), "two");
        s = SYS(accept(l, NULL, NULL));
        expect(s, "late");
        c[2] = (int)(long)guest_join(t);
        answer(s, c[2]);
    } else if (guest_is(argv, "packets")) {
        c[0] = client("one");
        SYS(send(c[0], "", 0, 0));
        SYS(send(c[0], "three", 5, 0));
        guest_ready();
        s = SYS(accept(l, NULL, NULL));
        expect(s, "one");
        CHECK_EQ("an empty one", 0, SYS(recv(s, buf, sizeof buf, MSG_DONTWAIT)));
        expect(s, "three");
        answer(s, c[0]);
    } else if (guest_is(argv, "shut")) {
        c[0] = client("last words");
        SYS(shutdown(c[0], SHUT_WR));
        guest_ready();
        s = SYS(accept(l, NULL, NULL));
        expect(s, "last words");
        CHECK_EQ("the end", 0, SYS(recv(s, buf, sizeof buf, 0)));
        SYS(send(s, "yes", 3, 0));
        expect(c[0], "yes");
    } else {
        int ep = SYS(epoll_create1(0));
        struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.fd = l};
        SYS(fcntl(l, F_SETFL, O_NONBLOCK));
        c[0] = client("one");
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, l, &e));
        guest_ready();
        CHECK_EQ("ready", 1, SYS(epoll_wait(ep, &e, 1, 5000)));
        s = SYS(accept4(l, NULL, NULL, SOCK_NONBLOCK));
        struct pollfd f = {s, POLLIN, 0};
        CHECK_EQ("poll", 1, poll(&f, 1, 0));
        CHECK_EQ("what", POLLIN, f.revents);
        expect(s, "one");
        CHECK_EQ("no more", -1, accept(l, NULL, NULL));
        CHECK_EQ("error", EAGAIN, errno);
        answer(s, c[0]);
    }
    return 0;
}
