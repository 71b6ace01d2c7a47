// An epoll set watches a file whose descriptor number is closed or another's (the open file lives on in a dup).
#include "../guest.h"
int main(void)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = 71}, got;
    int p[2], ep = SYS(epoll_create1(0));
    SYS(pipe(p));
    int moved = SYS(dup(p[0]));
    SYS(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    close(p[0]);
    guest_ready();
    CHECK_EQ("nothing yet", 0, epoll_wait(ep, &got, 1, 0));
    CHECK_EQ("write", 1, write(p[1], "x", 1));
    CHECK_EQ("event", 1, epoll_wait(ep, &got, 1, 0));
    CHECK_EQ("data", 71, got.data.u32);
    close(moved);
    CHECK_EQ("gone with the last descriptor", 0, epoll_wait(ep, &got, 1, 0));
    return 0;
}
