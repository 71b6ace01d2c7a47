/* ticker STATS MIB KIND: fills memory, then reads the clock without pause and notes its own gaps.
 * STATS is shared with the bench, which reads and writes it from outside: a checkpoint leaves it as it is. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct stats {
    volatile uint64_t beats, largest_gap, second_gap, armed, resumed_at, full_at, pass, ask_fork, fork;
};

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fill(uint64_t *words, size_t n, const char *kind)
{
    uint64_t x = 88172645463325252ull;
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(kind, "floats")) {
            double d = i * 0.5;
            memcpy(&words[i], &d, 8);
        } else {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            words[i] = x;
        }
    }
}

/* One word of each page: as fast as memory that is there allows. */
static uint64_t pass(const uint64_t *words, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += 512)
        sum += words[i];
    return sum;
}

/* What the kernel alone takes to copy this process. */
static uint64_t one_fork(void)
{
    uint64_t begun = now();
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    uint64_t took = now() - begun;
    waitpid(pid, 0, 0);
    return took;
}

int main(int argc, char **argv)
{
    int fd = open(argv[1], O_RDWR);
    struct stats *s = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    size_t n = (size_t)atoi(argv[2]) << 17;
    uint64_t *words = !strcmp(argv[3], "shared")
        ? mmap(0, n * 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
        : malloc(n * 8);
    int dirty = argc > 3 && !strcmp(argv[3], "dirty");
    int hundredth = argc > 3 && !strcmp(argv[3], "hundredth"); /* writes to the same 1% of its pages */
    if (fd < 0 || s == MAP_FAILED || !words)
        return 1;
    fill(words, n, argv[3]);
    volatile uint64_t sum = pass(words, n);
    uint64_t last = now(), at = 0, begun = last;
    sum += pass(words, n);
    s->pass = now() - begun;
    last = now();
    for (;;) {
        uint64_t t = now();
        if (t - last > s->largest_gap) {
            s->second_gap = s->largest_gap;
            s->largest_gap = t - last;
        } else if (t - last > s->second_gap) {
            s->second_gap = t - last;
        }
        if (s->armed && t - last > 2000000) {
            s->resumed_at = t;
            sum += pass(words, n);
            t = now();
            s->armed = 0;
            s->full_at = t;
        }
        if (s->ask_fork) {
            s->fork = one_fork();
            s->ask_fork = 0;
            t = now();
        }
        last = t;
        s->beats++;
        if (dirty) {
            words[at] = t;
            at = (at + 512) % n;
        }
        if (hundredth) {
            words[at] = t;
            at = at + 51200 < n ? at + 51200 : 0;
        }
    }
}
