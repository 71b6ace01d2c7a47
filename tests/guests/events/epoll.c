// epoll: data, level and edge triggered, one shot spent, nested, a set shared with a child.
#include "../guest.h"
static int ep;
static void child(void)
{
    struct epoll_event e[8];
    guest_await_go();
    CHECK(SYS(epoll_wait(ep, e, 8, 1000)) >= 1);
}
static void add(int set, int fd, unsigned events, uint64_t data)
{
    struct epoll_event e = {.events = events, .data.u64 = data};
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
}
int main(void)
{
    struct epoll_event e[8];
    int lv[2], et[2], one[2], in[2];
    char c;
    SYS(pipe(lv)), SYS(pipe(et)), SYS(pipe(one)), SYS(pipe(in));
    ep = SYS(epoll_create1(EPOLL_CLOEXEC));
    int inner = SYS(epoll_create1(0)), more = SYS(epoll_create1(0)), dup_fd = SYS(dup(one[0]));
    add(ep, lv[0], EPOLLIN, 0x1122334455667788);
    add(more, et[0], EPOLLIN | EPOLLET, 2);
    add(more, one[0], EPOLLIN | EPOLLONESHOT, 3);
    add(more, dup_fd, EPOLLIN, 5);
    add(inner, in[0], EPOLLIN, 9);
    add(ep, inner, EPOLLIN, 4);
    CHECK_EQ("write", 1, write(one[1], "x", 1));
    CHECK_EQ("one shot and its dup", 2, epoll_wait(more, e, 8, 0));
    CHECK_EQ("only the dup", 1, epoll_wait(more, e, 8, 0));
    CHECK_EQ("write", 1, write(lv[1], "x", 1));
    pid_t kid = guest_fork(child);
    guest_ready();
    CHECK_EQ("level", 1, SYS(epoll_wait(ep, e, 8, 0)));
    CHECK(e[0].data.u64 == 0x1122334455667788);
    CHECK_EQ("one shot stays spent", 1, SYS(epoll_wait(more, e, 8, 0)));
    CHECK_EQ("the dup", 5, e[0].data.u64);
    CHECK_EQ("read", 1, read(one[0], &c, 1));
    CHECK_EQ("nothing", 0, epoll_wait(more, e, 8, 0));
    CHECK_EQ("write", 1, write(et[1], "x", 1));
    CHECK_EQ("edge", 1, epoll_wait(more, e, 8, 0));
    CHECK_EQ("edge only once", 0, epoll_wait(more, e, 8, 0));
    CHECK_EQ("write", 1, write(in[1], "x", 1));
    int seen = 0, n = SYS(epoll_wait(ep, e, 8, 0));
    for (int i = 0; i < n; i++)
        seen |= e[i].data.u64 == 4;
    CHECK_EQ("nested", 1, seen);
    struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 33};
    SYS(epoll_ctl(more, EPOLL_CTL_MOD, one[0], &again));
    CHECK_EQ("write", 1, write(one[1], "x", 1));
    CHECK_EQ("armed again", 2, epoll_wait(more, e, 8, 0));
    SYS(epoll_ctl(ep, EPOLL_CTL_DEL, inner, NULL));
    guest_reap(kid, 0);
    return 0;
}
