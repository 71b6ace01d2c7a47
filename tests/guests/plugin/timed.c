// Every event of a process, with a callback that sleeps at each: timings.jsonl has all, in order, with what they took.
// plugin: examples/plugins/pause.c
// callbacks: 100000
#include "../guest.h"
int main(int argc, char **argv)
{
    if (argc > 1) {
        guest_note("child");
        guest_await_go();
        return 0;
    }
    pid_t kid = SYS(fork());
    if (kid == 0) {
        execl(argv[0], argv[0], "child", NULL);
        _exit(9);
    }
    guest_await("child");
    guest_ready();
    guest_reap(kid, 0);
    return 0;
}
