// Terminals that are full: typed or printed until there is no room, by small and large pieces, with somebody waiting for room, partly read.
// args: typed typed_6000 typed_read printed both lines lines_read lines_half lines_echo typing printing cooked
#include "../guest.h"
#include <pty.h>
static int m, s;
static char line[20], buf[65536];
static int number_line(int i) { return sprintf(line, "line %05d\n", i); }
// Writes until there is no room, or as much as is said.
static int fill(int fd, int most, int piece)
{
    static char data[65536];
    int n = 0, got;
    guest_fill(data, sizeof data, fd);
    while (n < most && (got = write(fd, data + n, piece)) > 0)
        n += got;
    if (n < most)
        CHECK_EQ("no room", EAGAIN, errno);
    return n;
}
static void expect(int fd, int from, int n, int seed)
{
    static char want[65536];
    guest_fill(want, sizeof want, seed);
    for (int at = from, got; at < n; at += got) {
        CHECK_EQ("more to read", 1, poll(&(struct pollfd){fd, POLLIN, 0}, 1, 5000));
        got = SYS(read(fd, buf, n - at));
        CHECK(memcmp(buf, want + at, got) == 0);
    }
    CHECK_EQ("nothing else", 0, poll(&(struct pollfd){fd, POLLIN, 0}, 1, 50));
}
static void unblock(void)
{
    SYS(fcntl(m, F_SETFL, O_RDWR | O_NONBLOCK));
    SYS(fcntl(s, F_SETFL, O_RDWR | O_NONBLOCK));
}
static void type_lines(void)
{
    for (int i = 0; i < 4000; i++)
        SYS(write(m, line, number_line(i)));
    guest_await("done");
}
static void print_lines(void)
{
    close(m);
    for (int i = 0; i < 4000; i++)
        SYS(write(s, line, number_line(i)));
}
static void expect_line(int i)
{
    CHECK_EQ("a line to read", 1, poll(&(struct pollfd){s, POLLIN, 0}, 1, 5000));
    CHECK_EQ("length", number_line(i), SYS(read(s, buf, 100)));
    CHECK(memcmp(buf, line, strlen(line)) == 0);
}
int main(int argc, char **argv)
{
    (void)argc;
    struct termios t;
    const char *is = argv[1];
    SYS(openpty(&m, &s, NULL, NULL, NULL));
    SYS(tcgetattr(s, &t));
    int echo = !strcmp(is, "lines_echo");
    if (!strncmp(is, "lines", 5) || !strcmp(is, "typing")) {
        if (!echo)
            t.c_lflag &= ~ECHO;
    } else if (strcmp(is, "cooked"))
        cfmakeraw(&t);
    SYS(tcsetattr(s, TCSANOW, &t));
    if (!strncmp(is, "typed", 5)) {
        unblock();
        int n = fill(m, !strcmp(is, "typed_6000") ? 6000 : 65536, 1000), from = 0;
        if (!strcmp(is, "typed_read"))
            from = SYS(read(s, buf, 100));
        guest_ready();
        expect(s, from, n, m);
    } else if (!strcmp(is, "printed") || !strcmp(is, "both")) {
        unblock();
        int typed = strcmp(is, "both") ? 0 : fill(m, 65536, 2000), n = fill(s, 65536, 2000);
        guest_ready();
        expect(m, 0, n, s);
        expect(s, 0, typed, m);
    } else if (!strncmp(is, "lines", 5)) {
        int n = 0, from = !strcmp(is, "lines_read") ? 150 : 0, half = !strcmp(is, "lines_half");
        unblock();
        if (echo)
            while (n < 500)
                SYS(write(m, line, number_line(n++)));
        else
            for (int got; (got = write(m, line, number_line(n))) > 0; n++)
                if (got < 11) {
                    // The line that did not fit as a whole.
                    AWAIT(write(m, "\n", 1) == 1 || errno == EAGAIN);
                    break;
                }
        for (int i = 0; i < from; i++)
            expect_line(i);
        if (half)
            CHECK_EQ("a part", 3, SYS(read(s, buf, 3)));
        guest_ready();
        if (half) {
            CHECK_EQ("the rest", 8, SYS(read(s, buf, 100)));
            from = 1;
        }
        for (int i = from; i < n; i++)
            expect_line(i);
        if (echo)
            for (int i = 0, got; i < n; i++) {
                number_line(i);
                line[10] = '\r', line[11] = '\n', line[12] = 0;
                for (int at = 0; at < 12; at += got) {
                    CHECK_EQ("an echo to read", 1, poll(&(struct pollfd){m, POLLIN, 0}, 1, 5000));
                    got = SYS(read(m, buf, 12 - at));
                    CHECK(memcmp(buf, line + at, got) == 0);
                }
            }
    } else if (!strcmp(is, "typing")) {
        pid_t child = guest_fork(type_lines);
        guest_await_in(child, SYS_write);
        guest_ready();
        for (int i = 0; i < 4000; i++)
            expect_line(i);
        guest_note("done");
        guest_reap(child, 0);
    } else {
        int cooked = !strcmp(is, "cooked");
        pid_t child = guest_fork(print_lines);
        close(s);
        guest_await_in(child, SYS_write);
        guest_ready();
        for (int i = 0; i < 4000; i++) {
            int n = number_line(i), at = 0;
            if (cooked)
                n = sprintf(line + 10, "\r\n") + 10;
            while (at < n)
                at += SYS(read(m, buf + at, n - at));
            CHECK(memcmp(buf, line, n) == 0);
        }
        guest_reap(child, 0);
    }
    return 0;
}
