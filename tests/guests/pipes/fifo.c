// A named pipe with data, open in parent and child; a second one open for both directions.
#include "../guest.h"
static void child(void)
{
    int fd = SYS(open(PATH_OF("fifo"), O_WRONLY));
    CHECK_EQ("write", 5, write(fd, "hello", 5));
    guest_note("written");
    guest_await_go();
    CHECK_EQ("write", 5, write(fd, "world", 5));
}
int main(void)
{
    char buf[16] = {0};
    SYS(mkfifo(PATH_OF("fifo"), 0600));
    SYS(mkfifo(PATH_OF("both"), 0600));
    pid_t kid = guest_fork(child);
    int fd = SYS(open(PATH_OF("fifo"), O_RDONLY)), both = SYS(open(PATH_OF("both"), O_RDWR | O_NONBLOCK));
    CHECK_EQ("write", 4, write(both, "back", 4));
    guest_await("written");
    guest_ready();
    for (int got = 0; got < 10;)
        got += SYS(read(fd, buf + got, 10 - got));
    CHECK_STR("content", "helloworld", buf);
    CHECK_EQ("EOF", 0, read(fd, buf, 1));
    CHECK_EQ("both", 4, read(both, buf, sizeof buf));
    guest_reap(kid, 0);
    return 0;
}
