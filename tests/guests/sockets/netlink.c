// A netlink socket: its port and groups; a reply that nobody has read; a request after.
// args: idle reply
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
    guest_ready();
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
