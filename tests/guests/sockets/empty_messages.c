// Empty messages among others: seen again by the next checkpoint, half read in between, peeked by the program, of a writer that has closed.
// args: dgram seqpacket udp half peeked udp_peeked closed all_empty stamped with_fds
#include "inet.h"
static int r, s;
static void put(const char *text) { CHECK_EQ("send", strlen(text), SYS(send(s, text, strlen(text), 0))); }
static void get(const char *text)
{
    char buf[64];
    int n = SYS(recv(r, buf, sizeof buf - 1, MSG_DONTWAIT));
    buf[n] = 0;
    CHECK_STR("message", text, buf);
}
static void nothing(void)
{
    char c;
    CHECK_EQ("no more", -1, recv(r, &c, 1, MSG_DONTWAIT));
}
static void pair(int type)
{
    int fd[2];
    SYS(socketpair(AF_UNIX, type, 0, fd));
    s = fd[0], r = fd[1];
}
static void udp(void)
{
    struct sockaddr_in a = lo();
    r = bound(SOCK_DGRAM, &a), s = SYS(socket(AF_INET, SOCK_DGRAM, 0));
    SYS(connect(s, (void *)&a, sizeof a));
}
int main(int argc, char **argv)
{
    (void)argc;
    char c;
    if (strstr(argv[1], "udp"))
        udp();
    else
        pair(guest_is(argv, "seqpacket") || guest_is(argv, "closed") ? SOCK_SEQPACKET : SOCK_DGRAM);
    if (guest_is(argv, "peeked") || guest_is(argv, "udp_peeked")) {
        put(""), put("z");
        CHECK_EQ("peek", 0, SYS(recv(r, &c, 1, MSG_PEEK)));
        guest_ready();
        get(""), get("z"), nothing();
    } else if (guest_is(argv, "half")) {
        // A program that reads on between two checkpoints: the same texts again and again.
        put("x"), put(""), put(""), put("x"), put(""), put("x");
        guest_note("ready");
        int read = 0;
        for (int round = 1; !guest_noted("go"); guest_nap()) {
            char ping[32];
            sprintf(ping, "ping.%d", round);
            if (!guest_noted(ping))
                continue;
            if (++read <= 2)
                get(read == 1 ? "x" : "");
            put("x");
            ping[1] = 'o';
            guest_note(ping), round++;
        }
        const char *all[] = {"x", "", "", "x", "", "x"};
        for (int i = read < 2 ? read : 2; i < 6; i++)
            get(all[i]);
        for (int i = 0; i < read; i++)
            get("x");
        nothing();
    } else if (guest_is(argv, "closed")) {
        put("a"), put(""), put("z"), put("");
        close(s);
        guest_ready();
        get("a"), get(""), get("z"), get("");
        CHECK_EQ("the end", 0, SYS(recv(r, &c, 1, MSG_DONTWAIT)));
        CHECK_EQ("nothing is left", 0, SYS(ioctl(r, FIONREAD, &(int){0})));
    } else if (guest_is(argv, "all_empty")) {
        put(""), put(""), put("");
        guest_ready();
        get(""), get(""), get(""), nothing();
    } else if (guest_is(argv, "stamped")) {
        SYS(setsockopt(r, SOL_SOCKET, SO_TIMESTAMP, &(int){1}, sizeof(int)));
        put(""), put("a"), put("");
        guest_ready();
        CHECK_EQ("SO_TIMESTAMP", 1, opt(r, SOL_SOCKET, SO_TIMESTAMP));
        CHECK_EQ("SO_TIMESTAMPNS", 0, opt(r, SOL_SOCKET, SO_TIMESTAMPNS));
        get(""), get("a"), get(""), nothing();
    } else if (guest_is(argv, "with_fds")) {
        // Descriptors beside.
        char control[CMSG_SPACE(sizeof(int))] = {0};
        struct iovec iov = {"f", 1};
        struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &s, sizeof s);
        put("");
        CHECK_EQ("sendmsg", 1, SYS(sendmsg(s, &m, 0)));
        put("");
        guest_ready();
        get("");
        char buf[4];
        iov.iov_base = buf;
        CHECK_EQ("recvmsg", 1, SYS(recvmsg(r, &m, MSG_DONTWAIT)));
        CHECK_EQ("descriptors", CMSG_LEN(sizeof(int)), CMSG_FIRSTHDR(&m)->cmsg_len);
        get(""), nothing();
    } else {
        put("a"), put(""), put("z"), put(""), put("");
        guest_ready();
        get("a"), get(""), get("z"), get(""), get(""), nothing();
        put(""), put("on");
        get(""), get("on"), nothing();
    }
    return 0;
}
