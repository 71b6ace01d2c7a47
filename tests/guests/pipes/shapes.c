// Pipes in odd shapes: spliced pages, many small packets and one large, O_NONBLOCK on one end, both in one table twice, SIGIO owner, in poll; its mode.
// args: spliced mixed flags full_small vmsplice packets_full resized mode
#include "../guest.h"
int main(int argc, char **argv)
{
    (void)argc;
    int p[2];
    static char buf[1 << 20], got[1 << 20];
    SYS(pipe(p));
    guest_fill(buf, sizeof buf, 1);
    if (guest_is(argv, "spliced")) {
        int f = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT, 0600));
        CHECK_EQ("write", 20000, write(f, buf, 20000));
        loff_t at = 100;
        CHECK_EQ("splice", 9000, SYS(splice(f, &at, p[1], NULL, 9000, 0)));
        guest_ready();
        CHECK_EQ("read", 9000, SYS(read(p[0], got, sizeof got)));
        CHECK(memcmp(got, buf + 100, 9000) == 0);
    } else if (guest_is(argv, "mixed")) {
        // Packets, then a stream.
        SYS(fcntl(p[1], F_SETFL, O_DIRECT));
        CHECK_EQ("write", 5, write(p[1], buf, 5));
        CHECK_EQ("write", 6, write(p[1], buf + 5, 6));
        SYS(fcntl(p[1], F_SETFL, 0));
        CHECK_EQ("write", 7, write(p[1], buf + 11, 7));
        guest_ready();
        CHECK_EQ("write", 2, write(p[1], buf + 18, 2));
        CHECK_EQ("a packet", 5, SYS(read(p[0], got, sizeof got)));
        CHECK_EQ("a packet", 6, SYS(read(p[0], got, sizeof got)));
        CHECK_EQ("a stream", 9, SYS(read(p[0], got, sizeof got)));
        CHECK(memcmp(got, buf + 11, 9) == 0);
    } else if (guest_is(argv, "flags")) {
        SYS(fcntl(p[0], F_SETFL, O_NONBLOCK));
        SYS(fcntl(p[1], F_SETFD, FD_CLOEXEC));
        int d = SYS(dup2(p[0], 200)), e = SYS(dup(p[1]));
        guest_ready();
        CHECK_EQ("O_NONBLOCK", O_NONBLOCK, fcntl(p[0], F_GETFL) & O_NONBLOCK);
        CHECK_EQ("O_NONBLOCK of the writer", 0, fcntl(p[1], F_GETFL) & O_NONBLOCK);
        CHECK_EQ("FD_CLOEXEC", FD_CLOEXEC, fcntl(p[1], F_GETFD));
        CHECK_EQ("FD_CLOEXEC of the dup", 0, fcntl(e, F_GETFD));
        SYS(fcntl(d, F_SETFL, 0));
        CHECK_EQ("shared by the dup", 0, fcntl(p[0], F_GETFL) & O_NONBLOCK);
        close(p[1]), close(e);
        CHECK_EQ("EOF", 0, read(d, got, 1));
    } else if (guest_is(argv, "full_small")) {
        SYS(fcntl(p[1], F_SETFL, O_NONBLOCK));
        SYS(fcntl(p[1], F_SETPIPE_SZ, 4096));
        int n = 0;
        while (write(p[1], buf + n, 1) == 1)
            n++;
        CHECK_EQ("bytes", 4096, n);
        guest_ready();
        CHECK_EQ("size", 4096, fcntl(p[0], F_GETPIPE_SZ));
        CHECK_EQ("full", -1, write(p[1], "x", 1));
        CHECK_EQ("read", n, SYS(read(p[0], got, sizeof got)));
        CHECK(memcmp(got, buf, n) == 0);
    } else if (guest_is(argv, "vmsplice")) {
        struct iovec v = {buf, 12345};
        CHECK_EQ("vmsplice", 12345, SYS(vmsplice(p[1], &v, 1, 0)));
        guest_ready();
        CHECK_EQ("read", 12345, SYS(read(p[0], got, sizeof got)));
        guest_verify("content", got, 12345, 1);
    } else if (guest_is(argv, "packets_full")) {
        int n = 0;
        SYS(fcntl(p[1], F_SETFL, O_DIRECT | O_NONBLOCK));
        while (write(p[1], buf + n, 1 + n % 7) > 0)
            n++;
        guest_ready();
        CHECK_EQ("full", -1, write(p[1], "x", 1));
        for (int i = 0; i < n; i++)
            CHECK_EQ("packet", 1 + i % 7, SYS(read(p[0], got, 4096)));
    } else if (guest_is(argv, "mode")) {
        struct stat st;
        char path[64];
        sprintf(path, "/proc/self/fd/%d", p[0]);
        CHECK_EQ("write", 5, write(p[1], buf, 5));
        SYS(fchmod(p[0], 0440));
        guest_ready();
        SYS(fstat(p[1], &st));
        CHECK_EQ("F_GETFL", O_RDONLY, SYS(fcntl(p[0], F_GETFL)));
        CHECK_EQ("F_GETFL", O_WRONLY, SYS(fcntl(p[1], F_GETFL)));
        CHECK_EQ("mode", 0440, st.st_mode & 07777);
        CHECK(geteuid() == 0 || open(path, O_WRONLY) == -1);
        CHECK_EQ("read", 5, SYS(read(p[0], got, 9)));
    } else {
        SYS(fcntl(p[1], F_SETPIPE_SZ, 1 << 20));
        CHECK_EQ("write", 700000, write(p[1], buf, 700000));
        guest_ready();
        CHECK_EQ("size", 1 << 20, fcntl(p[0], F_GETPIPE_SZ));
        int at = 0;
        while (at < 700000)
            at += SYS(read(p[0], got + at, 700000 - at));
        guest_verify("content", got, 700000, 1);
    }
    return 0;
}
