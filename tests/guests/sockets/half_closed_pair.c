// A UNIX stream socket shut down for writing, one whose peer is closed with data left.
#include "../guest.h"
int main(void)
{
    char buf[8];
    int s[2], t[2];
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, t));
    CHECK_EQ("send", 2, send(s[0], "ab", 2, 0));
    SYS(shutdown(s[0], SHUT_WR));
    CHECK_EQ("send", 2, send(t[0], "cd", 2, 0));
    close(t[0]);
    guest_ready();
    CHECK_EQ("recv", 2, recv(s[1], buf, 8, 0));
    CHECK_EQ("EOF", 0, recv(s[1], buf, 8, 0));
    CHECK_EQ("send back", 1, send(s[1], "x", 1, 0));
    CHECK_EQ("recv", 1, recv(s[0], buf, 8, 0));
    CHECK_EQ("send after shutdown", -1, send(s[0], "x", 1, MSG_NOSIGNAL));
    CHECK_EQ("errno", EPIPE, errno);
    CHECK_EQ("recv", 2, recv(t[1], buf, 8, 0));
    CHECK_EQ("EOF", 0, recv(t[1], buf, 8, 0));
    CHECK_EQ("send to the closed", -1, send(t[1], "x", 1, MSG_NOSIGNAL));
    return 0;
}
