// Processes that stay in vfork for longer than a library may take to load, and are short-lived programs then: one that is
// found just after its exec has had no time at all yet.
#include "../guest.h"
#define N 8
static volatile int *in_window;
static void waits(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        __sync_fetch_and_add(in_window, 1);
        struct timespec t = {4, 0};
        nanosleep(&t, NULL);
        execl("/bin/true", "true", NULL);
        _exit(99);
    }
    guest_reap(SYS(pid), 0);
}
int main(void)
{
    pid_t kids[N];
    in_window = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < N; i++)
        kids[i] = guest_fork(waits);
    AWAIT(*in_window == N);
    guest_ready();
    for (int i = 0; i < N; i++)
        guest_reap(kids[i], 0);
    return 0;
}
