// More transfers that natively always return the whole count, at full speed, some of them in threads: those that count in other
// registers than write(2), or in messages, and those of glibc's functions that load the number of the call early.
// args: sendfile sendfile_file copy_range getrandom urandom zero sendmmsg sendmmsg_dgram send_threads recv_threads sendmsg_threads pieces
#include "../guest.h"
#include <sys/random.h>
#include <sys/sendfile.h>
enum { SIZE = 600000, PARTS = 6 };
static int ends[2], file, copy;
static const char *how;
static char data[SIZE], got[SIZE];
static int is(const char *name) { return !strcmp(how, name); }
// Each at another place in its line of the cache, as the frame of a signal then is.
static __attribute__((noinline)) long in_pieces(int at)
{
    struct iovec parts[3] = {{data, 100}, {data + 100, 0}, {data + 100, SIZE - 100}};
    volatile char *room = __builtin_alloca(16 * at + 1);
    room[0] = 0;
    return writev(ends[0], parts, 3) + room[0];
}
static long messages(void)
{
    struct mmsghdr m[PARTS] = {0};
    struct iovec parts[PARTS][2];
    long sum = 0;
    for (int i = 0; i < PARTS; i++) {
        int len = SIZE / PARTS;
        parts[i][0] = (struct iovec){data + i * len, len / 3};
        parts[i][1] = (struct iovec){data + i * len + len / 3, len - len / 3};
        m[i].msg_hdr.msg_iov = parts[i], m[i].msg_hdr.msg_iovlen = 2;
    }
    CHECK_EQ("messages", PARTS, SYS(sendmmsg(ends[0], m, PARTS, 0)));
    for (int i = 0; i < PARTS; i++)
        sum += m[i].msg_len;
    return sum;
}
static long call(int i)
{
    off_t from = 0, to = 0;
    struct iovec parts[2] = {{data, SIZE / 3}, {data + SIZE / 3, SIZE - SIZE / 3}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
    if (is("sendfile"))
        return sendfile(ends[0], file, &from, SIZE);
    if (is("sendfile_file"))
        return lseek(copy, 0, SEEK_SET), sendfile(copy, file, &from, SIZE);
    if (is("copy_range"))
        return copy_file_range(file, &from, copy, &to, SIZE, 0);
    if (is("getrandom"))
        return getrandom(got, SIZE, 0);
    if (is("urandom") || is("zero"))
        return read(file, got, SIZE);
    if (!strncmp(how, "sendmmsg", 8))
        return messages();
    if (is("pieces"))
        return in_pieces(i % 4);
    return is("sendmsg_threads") ? sendmsg(ends[0], &m, 0) : send(ends[0], data, SIZE, 0);
}
static void *writer(void *x)
{
    for (int i = 0; !guest_going(); i++) {
        CHECK_EQ("whole", SIZE, SYS(call(i)));
        if (copy) {
            CHECK_EQ("copy", SIZE, SYS(pread(copy, got, SIZE, 0)));
            CHECK(!memcmp(data, got, SIZE));
            SYS(ftruncate(copy, 0));
        }
    }
    shutdown(ends[0], SHUT_WR);
    return x;
}
static void *reader(void *x)
{
    for (;;) {
        long n = is("recv_threads") ? SYS(recv(ends[1], got, SIZE, MSG_WAITALL)) : SYS(read(ends[1], got, 1));
        if (n == 0)
            return x;
        if (is("recv_threads"))
            CHECK_EQ("received", SIZE, n);
        while (n < SIZE) {
            long more = SYS(read(ends[1], got + n, SIZE - n));
            CHECK(more > 0);
            n += more;
        }
        CHECK(!memcmp(data, got, SIZE));
    }
}
static void *datagrams(void *x)
{
    static char message[SIZE];
    for (int i = 0;; i = (i + 1) % PARTS) {
        long n = SYS(recv(ends[1], message, sizeof message, 0));
        if (n == 0)
            return x;
        CHECK_EQ("message", SIZE / PARTS, n);
        CHECK(!memcmp(data + i * (SIZE / PARTS), message, n));
    }
}
int main(int argc, char **argv)
{
    (void)argc;
    how = argv[1];
    guest_fill(data, SIZE, 1);
    int local = is("getrandom") || is("urandom") || is("zero") || is("copy_range") || is("sendfile_file");
    file = is("urandom") || is("zero") ? SYS(open(is("zero") ? "/dev/zero" : "/dev/urandom", O_RDONLY)) : SYS(open(PATH_OF("data"), O_RDWR | O_CREAT, 0600));
    if (!is("urandom") && !is("zero"))
        CHECK_EQ("file", SIZE, SYS(write(file, data, SIZE)));
    if (is("copy_range") || is("sendfile_file"))
        copy = SYS(open(PATH_OF("copy"), O_RDWR | O_CREAT, 0600));
    SYS(socketpair(AF_UNIX, is("sendmmsg_dgram") ? SOCK_SEQPACKET : SOCK_STREAM, 0, ends));
    pthread_t w = guest_thread(writer, NULL), r = w;
    if (!local)
        r = guest_thread(is("sendmmsg_dgram") ? datagrams : reader, NULL);
    guest_ready();
    guest_join(w);
    if (!local)
        guest_join(r);
    return 0;
}
