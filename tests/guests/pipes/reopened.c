// A pipe opened once more through /proc/self/fd, with flags of its own.
#include "../guest.h"
int main(void)
{
    char path[64], c;
    int p[2];
    SYS(pipe(p));
    sprintf(path, "/proc/self/fd/%d", p[0]);
    int again = SYS(open(path, O_RDONLY | O_NONBLOCK));
    CHECK_EQ("write", 2, write(p[1], "ab", 2));
    guest_ready();
    CHECK_EQ("non-blocking", O_NONBLOCK, fcntl(again, F_GETFL) & O_NONBLOCK);
    CHECK_EQ("blocking", 0, fcntl(p[0], F_GETFL) & O_NONBLOCK);
    CHECK_EQ("read", 1, read(again, &c, 1));
    CHECK_EQ("byte", 'a', c);
    CHECK_EQ("read", 1, read(p[0], &c, 1));
    CHECK_EQ("byte", 'b', c);
    CHECK_EQ("read", -1, read(again, &c, 1));
    return 0;
}
