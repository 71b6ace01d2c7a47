// Processes that leave by exit(2), thread by thread, the moment they go on after a checkpoint: their status is that of
// their own last thread, over and over.
// args: alone thread vdso
#include "../guest.h"
#define PROCESSES 4
static int by_vdso;
// Nanoseconds, roughly.
static long long now(void)
{
    struct timespec t;
    if (!by_vdso)
        return __builtin_ia32_rdtsc() / 2;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}
// Stood still for a while: by a checkpoint, or since others had the processor.
static void until_a_gap(int wait_ms)
{
    long long last = now(), end = last + wait_ms * 1000000ll;
    while (last < end) {
        long long t = now();
        if (t - last > 700000)
            return;
        last = t;
    }
}
static pthread_t first;
static void *second(void *unused)
{
    (void)unused;
    pthread_join(first, NULL);
    until_a_gap(30);
    syscall(SYS_exit, 7);
    return NULL;
}
static void child(int threads, int wait_ms)
{
    first = pthread_self();
    if (threads) {
        guest_thread(second, NULL);
        pthread_exit(NULL);
    }
    until_a_gap(wait_ms);
    syscall(SYS_exit, 7);
}
int main(int argc, char **argv)
{
    pid_t kid[PROCESSES] = {0};
    if (argc < 2)
        SKIP("needs a kind");
    int threads = guest_is(argv, "thread");
    by_vdso = guest_is(argv, "vdso");
    guest_note("ready");
    // Not guest_ready(): checkpoints come while this goes on.
    for (int round = 1, rounds = 0; !guest_noted("go") || rounds < 20; rounds++) {
        char ping[32], pong[32];
        sprintf(ping, "ping.%d", round);
        if (guest_noted(ping)) {
            sprintf(pong, "pong.%d", round++);
            guest_note(pong);
        }
        for (int i = 0; i < PROCESSES; i++) {
            if (kid[i])
                guest_reap(kid[i], 7);
            kid[i] = SYS(fork());
            if (kid[i] == 0)
                child(threads, 1 + (rounds + i * 7) % 30);
        }
    }
    for (int i = 0; i < PROCESSES; i++)
        guest_reap(kid[i], 7);
    return 0;
}
