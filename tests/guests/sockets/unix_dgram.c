// Bound UNIX datagram sockets with queued messages and their senders' names; a connected one.
#include "../guest.h"
static struct sockaddr_un name(const char *n)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    guest_path(a.sun_path, n);
    return a;
}
int main(void)
{
    char buf[64];
    struct sockaddr_un a = name("a"), b = name("b"), from;
    socklen_t len = sizeof from;
    int sa = SYS(socket(AF_UNIX, SOCK_DGRAM, 0)), sb = SYS(socket(AF_UNIX, SOCK_DGRAM, 0));
    SYS(bind(sa, (void *)&a, sizeof a));
    SYS(bind(sb, (void *)&b, sizeof b));
    SYS(connect(sb, (void *)&a, sizeof a));
    CHECK_EQ("send", 3, send(sb, "one", 3, 0));
    CHECK_EQ("send", 0, send(sb, "", 0, 0));
    CHECK_EQ("send", 5, send(sb, "three", 5, 0));
    guest_ready();
    CHECK_EQ("recv", 3, SYS(recvfrom(sa, buf, sizeof buf, 0, (void *)&from, &len)));
    CHECK_STR("sender", b.sun_path, from.sun_path);
    CHECK_EQ("recv", 0, SYS(recv(sa, buf, sizeof buf, MSG_DONTWAIT)));
    CHECK_EQ("recv", 5, SYS(recv(sa, buf, sizeof buf, MSG_DONTWAIT)));
    CHECK_EQ("sendto", 2, SYS(sendto(sa, "re", 2, 0, (void *)&b, sizeof b)));
    CHECK_EQ("recv", 2, SYS(recv(sb, buf, sizeof buf, MSG_DONTWAIT)));
    len = sizeof from;
    SYS(getpeername(sb, (void *)&from, &len));
    CHECK_STR("peer", a.sun_path, from.sun_path);
    return 0;
}
