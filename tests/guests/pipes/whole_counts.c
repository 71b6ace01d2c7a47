// Blocking transfers at full speed, of more than fits, always return the whole count, also where a checkpoint cuts them short in a
// thread that was not seen in the call.
// args: write writev send sendmsg recv_waitall recvmsg_waitall
#include "../guest.h"
enum { SIZE = 300000 };
static int ends[2];
static const char *how;
static int is(const char *name) { return !strcmp(how, name); }
static long call(int fd, char *buf, int sends)
{
    struct iovec parts[2] = {{buf, SIZE / 3}, {buf + SIZE / 3, SIZE - SIZE / 3}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
    if (sends)
        return is("writev") ? writev(fd, parts, 2) : is("sendmsg") ? sendmsg(fd, &m, MSG_NOSIGNAL) : is("write") ? write(fd, buf, SIZE) : send(fd, buf, SIZE, MSG_NOSIGNAL);
    return is("recvmsg_waitall") ? recvmsg(fd, &m, MSG_WAITALL) : recv(fd, buf, SIZE, MSG_WAITALL);
}
static void writer(void)
{
    static char buf[SIZE];
    close(ends[1]);
    for (int i = 0; !guest_going(); i++) {
        guest_fill(buf, 64, i);
        CHECK_EQ("sent", SIZE, SYS(call(ends[0], buf, 1)));
    }
}
static void reader(void)
{
    static char buf[SIZE];
    close(ends[0]);
    for (int i = 0;; i++) {
        long n = SYS(call(ends[1], buf, 0));
        if (n == 0)
            return;
        CHECK_EQ("received", SIZE, n);
        guest_verify("beginning", buf, 64, i);
    }
}
int main(int argc, char **argv)
{
    (void)argc;
    how = argv[1];
    pid_t kids[4];
    for (int i = 0; i < 4; i += 2) {
        SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
        kids[i] = guest_fork(writer), kids[i + 1] = guest_fork(reader);
        close(ends[0]), close(ends[1]);
    }
    guest_ready();
    for (int i = 0; i < 4; i++)
        guest_reap(kids[i], 0);
    return 0;
}
