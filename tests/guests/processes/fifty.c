// Fifty processes, each with memory of its own.
#include "../guest.h"
enum { N = 50 };
int main(void)
{
    pid_t pid[N];
    volatile int *ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int n = 0; n < N; n++)
        if ((pid[n] = SYS(fork())) == 0) {
            char *mem = malloc(100000);
            guest_fill(mem, 100000, n);
            pid_t me = getpid();
            __sync_fetch_and_add(ready, 1);
            guest_await_go();
            guest_verify("memory", mem, 100000, n);
            CHECK_EQ("getpid", me, getpid());
            _exit(n);
        }
    AWAIT(*ready == N);
    guest_ready();
    for (int n = 0; n < N; n++)
        guest_reap(pid[n], n);
    return 0;
}
