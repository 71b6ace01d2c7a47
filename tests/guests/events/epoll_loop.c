// An event loop over sockets, an eventfd and a timerfd that never stops.
#include "../guest.h"
static int s[2], ev, tf, ep;
static volatile long seen[3];
static void *loop(void *x)
{
    struct epoll_event e[4];
    char buf[8];
    uint64_t v;
    (void)x;
    for (;;) {
        int n = SYS(epoll_wait(ep, e, 4, -1));
        for (int i = 0; i < n; i++) {
            int k = e[i].data.u32;
            if (k == 0) {
                ssize_t got = SYS(read(s[0], buf, 8));
                if (got == 0)
                    return NULL;
                seen[0] += got;
            } else {
                CHECK_EQ("read", 8, SYS(read(k == 1 ? ev : tf, &v, 8)));
                seen[k] += v;
            }
        }
    }
}
static void *feed(void *x)
{
    long fed = 0;
    (void)x;
    for (; !guest_going(); fed++) {
        CHECK_EQ("write", 1, write(s[1], "x", 1));
        CHECK_EQ("write", 8, write(ev, &(uint64_t){1}, 8));
    }
    return (void *)fed;
}
int main(void)
{
    struct itimerspec it = {{0, 3000000}, {0, 3000000}};
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    ev = SYS(eventfd(0, 0));
    tf = SYS(timerfd_create(CLOCK_MONOTONIC, 0));
    SYS(timerfd_settime(tf, 0, &it, NULL));
    ep = SYS(epoll_create1(0));
    int fds[3] = {s[0], ev, tf};
    for (int i = 0; i < 3; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &e));
    }
    pthread_t l = guest_thread(loop, NULL), f = guest_thread(feed, NULL);
    AWAIT(seen[0] > 10 && seen[2] > 1);
    guest_ready();
    long ticks = seen[2], fed = (long)guest_join(f);
    AWAIT(seen[2] > ticks + 1 && seen[0] == fed && seen[1] == fed);
    close(s[1]);
    guest_join(l);
    return 0;
}
