// Four processes with nearly as many descriptors as a login shell's limit allows each: together more than it.
#include "../guest.h"
#define EACH 900
static int first;
static void all_there(void)
{
    for (int i = 0; i < EACH; i++) {
        CHECK_EQ("offset", i % 7, lseek(first + i, 0, SEEK_CUR));
        CHECK_EQ("access", i % 2 ? O_RDONLY : O_RDWR, fcntl(first + i, F_GETFL) & O_ACCMODE);
    }
}
static void child(void)
{
    guest_await("asked");
    all_there();
}
int main(void)
{
    struct rlimit was, now;
    pid_t kid[3];
    SYS(getrlimit(RLIMIT_NOFILE, &was));
    int fd = SYS(open(PATH_OF("file"), O_RDWR | O_CREAT, 0600));
    first = fd + 1;
    for (int i = 0; i < EACH; i++) {
        CHECK_EQ("number", first + i, SYS(open(PATH_OF("file"), i % 2 ? O_RDONLY : O_RDWR)));
        SYS(lseek(first + i, i % 7, SEEK_SET));
    }
    for (int i = 0; i < 3; i++)
        kid[i] = guest_fork(child);
    guest_ready();
    all_there();
    guest_note("asked");
    for (int i = 0; i < 3; i++)
        guest_reap(kid[i], 0);
    SYS(getrlimit(RLIMIT_NOFILE, &now));
    CHECK_EQ("soft limit", was.rlim_cur, now.rlim_cur);
    CHECK_EQ("hard limit", was.rlim_max, now.rlim_max);
    return 0;
}
