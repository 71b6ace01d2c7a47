// The kernel's code in the process (vdso), by addresses that the program looked up for itself, as Go and the JVM do:
// they work after a restart, under another kernel too. Threads read clocks all the time.
#include "../guest.h"
#include <elf.h>
#include <sys/auxv.h>
static int (*clock_gettime_at)(clockid_t, struct timespec *);
static int (*clock_getres_at)(clockid_t, struct timespec *);
static int (*gettimeofday_at)(struct timeval *, void *);
static time_t (*time_at)(time_t *);
static int (*getcpu_at)(unsigned *, unsigned *, void *);
static ssize_t (*getrandom_at)(void *, size_t, unsigned, void *, size_t);
static volatile int stop;
static volatile long reads[4];

static void *entry(const char *name)
{
    char *base = (char *)getauxval(AT_SYSINFO_EHDR);
    CHECK(base && !memcmp(base, ELFMAG, SELFMAG));
    Elf64_Ehdr *head = (void *)base;
    Elf64_Phdr *ph = (void *)(base + head->e_phoff);
    Elf64_Sym *symbols = NULL;
    char *strings = NULL;
    for (int i = 0; i < head->e_phnum; i++)
        if (ph[i].p_type == PT_DYNAMIC)
            for (Elf64_Dyn *d = (void *)(base + ph[i].p_offset); d->d_tag; d++) {
                if (d->d_tag == DT_SYMTAB)
                    symbols = (void *)(base + d->d_un.d_ptr);
                if (d->d_tag == DT_STRTAB)
                    strings = base + d->d_un.d_ptr;
            }
    CHECK(symbols && strings);
    for (Elf64_Sym *s = symbols; (char *)s < strings; s++)
        if (s->st_shndx && !strcmp(strings + s->st_name, name))
            return base + s->st_value;
    return NULL;
}
static void find(void)
{
    clock_gettime_at = entry("__vdso_clock_gettime");
    clock_getres_at = entry("__vdso_clock_getres");
    gettimeofday_at = entry("__vdso_gettimeofday");
    time_at = entry("__vdso_time");
    getcpu_at = entry("__vdso_getcpu");
    getrandom_at = entry("__vdso_getrandom");
    if (!clock_gettime_at || !gettimeofday_at || !time_at || !getcpu_at)
        SKIP("no vdso");
}
static long long ns(struct timespec t) { return t.tv_sec * 1000000000ll + t.tv_nsec; }
static long long asked(clockid_t clock)
{
    struct timespec t;
    SYS(syscall(SYS_clock_gettime, clock, &t));
    return ns(t);
}
static void all_work(void)
{
    static const clockid_t clocks[] = {CLOCK_REALTIME,       CLOCK_MONOTONIC,          CLOCK_BOOTTIME, CLOCK_REALTIME_COARSE,
                                       CLOCK_MONOTONIC_COARSE, CLOCK_PROCESS_CPUTIME_ID, CLOCK_TAI,      CLOCK_MONOTONIC_RAW};
    struct timespec t;
    struct timeval tv;
    unsigned cpu;
    for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        long long before = asked(clocks[i]);
        CHECK_EQ("clock_gettime", 0, clock_gettime_at(clocks[i], &t));
        CHECK(before <= ns(t));
        CHECK(ns(t) <= asked(clocks[i]));
    }
    CHECK_EQ("gettimeofday", 0, gettimeofday_at(&tv, NULL));
    CHECK(llabs(tv.tv_sec - asked(CLOCK_REALTIME) / 1000000000) < 2);
    CHECK(llabs((long long)time_at(NULL) - tv.tv_sec) < 2);
    CHECK_EQ("getcpu", 0, getcpu_at(&cpu, NULL, NULL));
    CHECK(cpu < 4096);
    if (clock_getres_at) {
        CHECK_EQ("clock_getres", 0, clock_getres_at(CLOCK_MONOTONIC, &t));
        CHECK(ns(t) >= 1 && ns(t) < 100000000);
    }
    if (getrandom_at) {
        char a[16] = "", b[16] = "";
        CHECK_EQ("getrandom", 16, getrandom_at(a, 16, 0, NULL, 0));
        CHECK_EQ("getrandom", 16, getrandom_at(b, 16, 0, NULL, 0));
        CHECK(memcmp(a, b, 16));
    }
}
static void *reader(void *arg)
{
    long n = (long)arg;
    struct timespec t, last = {0, 0};
    struct timeval tv;
    while (!stop) {
        CHECK_EQ("clock_gettime", 0, clock_gettime_at(n & 1 ? CLOCK_MONOTONIC : CLOCK_MONOTONIC_COARSE, &t));
        if (ns(t) < ns(last))
            guest_fail("the clock went back from %lld to %lld", ns(last), ns(t));
        last = t;
        CHECK_EQ("gettimeofday", 0, gettimeofday_at(&tv, NULL));
        CHECK(tv.tv_sec > 1600000000 && time_at(NULL) > 1600000000);
        reads[n]++;
    }
    return NULL;
}
int main(void)
{
    pthread_t readers[2];
    find();
    all_work();
    for (long n = 0; n < 2; n++)
        readers[n] = guest_thread(reader, (void *)n);
    AWAIT(reads[0] > 1000 && reads[1] > 1000);
    guest_ready();
    long before[2] = {reads[0], reads[1]};
    AWAIT(reads[0] > before[0] + 1000 && reads[1] > before[1] + 1000);
    stop = 1;
    guest_join(readers[0]);
    guest_join(readers[1]);
    all_work();
    // The symbols can still be read.
    void *was = clock_gettime_at;
    find();
    CHECK(was == clock_gettime_at);
    all_work();
    return 0;
}
