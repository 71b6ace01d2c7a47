// A netlink socket: its port and groups; a reply that nobody has read, for good or for a while that a checkpoint waits; a request after.
// args: idle reply passing
#include "../guest.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
static void ask(int fd)
{
    struct {
        struct nlmsghdr h;
        struct rtgenmsg g;
    } r = {{.nlmsg_len = sizeof r, .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = 7}, {AF_UNSPEC}};
    CHECK_EQ("send", (long)sizeof r, SYS(send(fd, &r, sizeof r, 0)));
}
static int sleeps(int ms)
{
    for (; ms > 0 && !guest_going(); ms -= 2)
        guest_nap();
    return !guest_going();
}
// Most of the time something waits in the socket.
static void *asks(void *fd)
{
    char buf[16384];
    do {
        ask(*(int *)fd);
        sleeps(1200);
        while (recv(*(int *)fd, buf, sizeof buf, MSG_DONTWAIT) > 0)
            continue;
    } while (sleeps(300));
    return NULL;
}
int main(int argc, char **argv)
{
    (void)argc;
    struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK}, before, after;
    socklen_t len = sizeof before;
    char buf[16384];
    int fd = SYS(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    SYS(bind(fd, (void *)&a, sizeof a));
    SYS(getsockname(fd, (void *)&before, &len));
    if (guest_is(argv, "reply"))
        ask(fd);
    pthread_t asking = 0;
    if (guest_is(argv, "passing"))
        asking = guest_thread(asks, &fd);
    guest_ready();
    if (guest_is(argv, "passing"))
        guest_join(asking);
    len = sizeof after;
    SYS(getsockname(fd, (void *)&after, &len));
    CHECK_EQ("port", before.nl_pid, after.nl_pid);
    CHECK_EQ("groups", before.nl_groups, after.nl_groups);
    if (!guest_is(argv, "reply"))
        ask(fd);
    int n = SYS(recv(fd, buf, sizeof buf, MSG_DONTWAIT));
    CHECK(n > 0);
    CHECK_EQ("sequence", 7, ((struct nlmsghdr *)buf)->nlmsg_seq);
    return 0;
}
