// Children are forked and reaped all the time while checkpoints come.
#include "../guest.h"
static volatile int stop;
static volatile long rounds;
static void *run(void *x)
{
    long n = (long)x;
    while (!stop) {
        pid_t pid = SYS(fork());
        if (pid == 0)
            _exit(n);
        guest_reap(pid, n);
        __sync_fetch_and_add(&rounds, 1);
    }
    return NULL;
}
int main(void)
{
    pthread_t a = guest_thread(run, (void *)3), b = guest_thread(run, (void *)4);
    AWAIT(rounds > 5);
    guest_ready();
    long before = rounds;
    AWAIT(rounds > before + 5);
    stop = 1;
    guest_join(a);
    guest_join(b);
    return 0;
}
