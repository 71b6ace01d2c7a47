// Descriptors in flight: a pipe end and a file queued as SCM_RIGHTS, received after.
#include "../guest.h"
int main(void)
{
    int s[2], p[2], got[2];
    char c, control[CMSG_SPACE(sizeof got)] = {0};
    struct iovec iov = {"m", 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    SYS(pipe(p));
    int f = SYS(open(PATH_OF("file"), O_RDWR | O_CREAT, 0600)), fds[2] = {p[0], f};
    CHECK_EQ("write", 4, write(f, "data", 4));
    SYS(lseek(f, 1, SEEK_SET));
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(h), fds, sizeof fds);
    CHECK_EQ("sendmsg", 1, SYS(sendmsg(s[0], &m, 0)));
    close(p[0]);
    close(f);
    CHECK_EQ("write", 2, write(p[1], "pp", 2));
    guest_ready();
    iov.iov_base = &c;
    m.msg_controllen = sizeof control;
    CHECK_EQ("recvmsg", 1, SYS(recvmsg(s[1], &m, 0)));
    h = CMSG_FIRSTHDR(&m);
    CHECK(h && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof got));
    memcpy(got, CMSG_DATA(h), sizeof got);
    CHECK_EQ("through the pipe", 1, read(got[0], &c, 1));
    CHECK_EQ("byte", 'p', c);
    CHECK_EQ("offset", 1, lseek(got[1], 0, SEEK_CUR));
    CHECK_EQ("file", 1, read(got[1], &c, 1));
    CHECK_EQ("byte", 'a', c);
    return 0;
}
