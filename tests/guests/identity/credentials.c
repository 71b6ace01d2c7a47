// SCM_CREDENTIALS: a message queued before and one sent after carry the sender's pid.
#include "../guest.h"
static int s[2];
static void expect(pid_t want)
{
    char c, control[CMSG_SPACE(sizeof(struct ucred))];
    struct iovec iov = {&c, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    CHECK_EQ("recvmsg", 1, SYS(recvmsg(s[0], &m, 0)));
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    CHECK(h && h->cmsg_type == SCM_CREDENTIALS);
    struct ucred u;
    memcpy(&u, CMSG_DATA(h), sizeof u);
    CHECK_EQ("pid", want, u.pid);
    CHECK_EQ("uid", getuid(), u.uid);
}
static void child(void)
{
    CHECK_EQ("write", 1, write(s[1], "a", 1));
    guest_note("sent");
    guest_await_go();
    struct ucred u = {getpid(), getuid(), getgid()};
    char control[CMSG_SPACE(sizeof u)] = {0};
    struct iovec iov = {"b", 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_CREDENTIALS, h->cmsg_len = CMSG_LEN(sizeof u);
    memcpy(CMSG_DATA(h), &u, sizeof u);
    CHECK_EQ("sendmsg", 1, SYS(sendmsg(s[1], &m, 0)));
}
int main(void)
{
    SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    SYS(setsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
    pid_t kid = guest_fork(child);
    guest_await("sent");
    guest_ready();
    expect(kid);
    expect(kid);
    guest_reap(kid, 0);
    return 0;
}
