// No clock goes backwards, seen by a thread that reads them all the time.
#include "../guest.h"
static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME,
                                   CLOCK_MONOTONIC_COARSE};
static volatile int stop, rounds;
static void *watch(void *x)
{
    struct timespec last[5] = {0}, now;
    (void)x;
    while (!stop) {
        for (int i = 0; i < 5; i++) {
            clock_gettime(clocks[i], &now);
            if (now.tv_sec < last[i].tv_sec || (now.tv_sec == last[i].tv_sec && now.tv_nsec < last[i].tv_nsec))
                guest_fail("clock %d, expected >= %ld.%09ld, got %ld.%09ld", clocks[i], last[i].tv_sec,
                           last[i].tv_nsec, now.tv_sec, now.tv_nsec);
            last[i] = now;
        }
        rounds++;
    }
    return NULL;
}
int main(void)
{
    pthread_t t = guest_thread(watch, NULL);
    AWAIT(rounds > 100);
    guest_ready();
    int before = rounds;
    AWAIT(rounds > before + 100);
    stop = 1;
    guest_join(t);
    struct timeval tv;
    SYS(gettimeofday(&tv, NULL));
    CHECK(labs(time(NULL) - tv.tv_sec) <= 1);
    return 0;
}
