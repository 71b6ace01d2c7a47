// A child process that shares memory but is not a thread (CLONE_VM alone).
#include "../guest.h"
static volatile int counter, stop;
static int run(void *x)
{
    (void)x;
    while (!stop) {
        counter++;
        struct timespec ms = {0, 1000000};
        nanosleep(&ms, NULL);
    }
    return 5;
}
int main(void)
{
    char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid_t pid = SYS(clone(run, stack + 65536, CLONE_VM | SIGCHLD, NULL));
    AWAIT(counter > 2);
    guest_ready();
    int before = counter;
    AWAIT(counter > before + 2);
    stop = 1;
    guest_reap(pid, 5);
    return 0;
}
