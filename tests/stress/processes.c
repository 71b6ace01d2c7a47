// A tree of processes that each hold a megabyte and a pipe to their parent. argument: how many.
#include "../guests/guest.h"
static void child(int up)
{
    char *memory = malloc(1 << 20);
    guest_fill(memory, 1 << 20, up);
    guest_await_go();
    guest_verify("memory", memory, 1 << 20, up);
    CHECK_EQ("write", 1, write(up, "k", 1));
}
int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 200, p[2];
    char c;
    SYS(pipe(p));
    for (int i = 0; i < count - 1; i++)
        if (SYS(fork()) == 0) {
            // Every tenth has a child of its own between it and the root.
            pid_t own = i % 10 == 0 && i + 1 < count - 1 ? SYS(fork()) : -1;
            if (own == 0)
                pause();
            child(p[1]);
            if (own > 0) {
                SYS(kill(own, SIGKILL));
                SYS(waitpid(own, NULL, 0));
            }
            _exit(0);
        } else if (i % 10 == 0)
            i++;
    guest_ready();
    close(p[1]);
    int said = 0;
    while (read(p[0], &c, 1) == 1)
        said++;
    while (wait(NULL) > 0) {
    }
    CHECK(said >= count * 9 / 11);
    return 0;
}
