// Memory that never stands still: maps come, go, move and grow, pages are written by the program and by the kernel,
// dropped and inherited. What each page holds at go follows from the number of steps done, and is worked out anew.
// args: alone threads fork exec big sparse
#include "../guest.h"
enum { SLOTS = 24, PG = 4096 };
static unsigned scale = 1;
static int sparse; // every page exists, single ones are written to
static unsigned shared_from = 20; // slots of shared memory, where nobody else has it

struct slot {
    char *at;
    unsigned pages;
    uint64_t *tags; // only when worked out anew
};
struct churn {
    uint64_t seed, steps;
    struct slot slot[SLOTS];
};
static int pipe_[2];

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}
static void put(struct slot *s, unsigned page, uint64_t tag, int real)
{
    if (s->tags)
        s->tags[page] = tag;
    if (real) {
        uint64_t *p = (uint64_t *)(s->at + (size_t)page * PG);
        p[0] = tag;
        p[511] = ~tag;
    }
}
// The kernel writes the page.
static void put_by_read(struct slot *s, unsigned page, uint64_t tag, int real)
{
    if (s->tags)
        s->tags[page] = tag;
    if (real) {
        uint64_t buf[512] = {[0] = tag, [511] = ~tag};
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        pthread_mutex_lock(&lock);
        CHECK_EQ("write", PG, write(pipe_[1], buf, PG));
        CHECK_EQ("read", PG, read(pipe_[0], s->at + (size_t)page * PG, PG));
        pthread_mutex_unlock(&lock);
    }
}
static void clear(struct slot *s, unsigned from, unsigned n)
{
    if (s->tags)
        memset(s->tags + from, 0, n * sizeof *s->tags);
}
static void check_page(const struct slot *s, unsigned page, uint64_t tag)
{
    const uint64_t *p = (const uint64_t *)(s->at + (size_t)page * PG);
    if (p[0] != tag || p[511] != (tag ? ~tag : 0))
        guest_fail("page %u at %p, expected %#lx %#lx, got %#lx %#lx", page, (void *)p, tag, tag ? ~tag : 0, p[0], p[511]);
}
static void *fresh(unsigned pages, int shared)
{
    void *p = mmap(NULL, (size_t)pages * PG, PROT_READ | PROT_WRITE, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}
// Before Linux 6.17 an mremap that fails has removed what was there.
static int leaves_target(void)
{
    static _Atomic int known;
    if (!known) {
        char *two = fresh(2, 0), *to = fresh(2, 0);
        unsigned char there[2];
        SYS(mprotect(two, PG, PROT_READ));
        mremap(two, 2 * PG, 2 * PG, MREMAP_MAYMOVE | MREMAP_FIXED, to);
        known = mincore(to, 2 * PG, there) ? 1 : 2;
    }
    return known == 2;
}
static void resize(struct slot *s, unsigned pages, int move, int real, int keep)
{
    if (keep) {
        s->tags = realloc(s->tags, pages * sizeof *s->tags);
        for (unsigned i = s->pages; i < pages; i++)
            s->tags[i] = 0;
    }
    if (real) {
        void *to = move ? fresh(pages, 0) : NULL;
        char *p = mremap(s->at, (size_t)s->pages * PG, (size_t)pages * PG, MREMAP_MAYMOVE | (move ? MREMAP_FIXED : 0), to);
        if (p == MAP_FAILED) { // more than one mapping by now
            p = move && leaves_target() ? to : fresh(pages, 0);
            memcpy(p, s->at, (size_t)PG * (s->pages < pages ? s->pages : pages));
            SYS(munmap(s->at, (size_t)s->pages * PG));
        }
        s->at = p;
    }
    s->pages = pages;
}
// A child sees its parent's pages and changes its own.
static void child(struct slot *s, uint64_t tag)
{
    pid_t pid = SYS(fork());
    if (pid == 0) {
        for (unsigned i = 0; i < s->pages; i += 7) {
            volatile uint64_t *p = (uint64_t *)(s->at + (size_t)i * PG);
            if (p[511] != (p[0] ? ~p[0] : 0))
                _exit(1);
            p[0] = tag;
        }
        _exit(0);
    }
    guest_reap(pid, 0);
}
// One step: `real` on memory, `keep` in the tags.
static void step(struct churn *c, int real, int keep)
{
    uint64_t r = mix(c->seed * 1000003 + c->steps++), tag = mix(r) | 1;
    unsigned i = r % SLOTS, op = r >> 8 & 31, shared = i >= shared_from;
    struct slot *s = &c->slot[i];
    if (!s->pages) {
        s->pages = (64 + (r >> 16) % 192) * scale;
        if (real)
            s->at = fresh(s->pages, shared);
        if (keep)
            s->tags = calloc(s->pages, sizeof *s->tags);
        for (unsigned p = 0; sparse && p < s->pages; p++)
            put(s, p, tag + 2 * p, real);
        return;
    }
    if (sparse)
        op = 31;
    unsigned from = (r >> 24) % s->pages, n = 1 + (r >> 40) % (s->pages - from);
    switch (op) {
    case 0:
        if (real)
            SYS(munmap(s->at, (size_t)s->pages * PG));
        free(s->tags);
        *s = (struct slot){0};
        return;
    case 1:
    case 2:
        if (!shared)
            resize(s, (64 + (r >> 16) % 192) * scale, op == 2, real, keep);
        return;
    case 3:
    case 4:
        if (shared)
            return;
        clear(s, from, n);
        if (real && op == 3)
            SYS(madvise(s->at + (size_t)from * PG, (size_t)n * PG, MADV_DONTNEED));
        if (real && op == 4)
            CHECK(mmap(s->at + (size_t)from * PG, (size_t)n * PG, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
        return;
    case 5:
        if (real) {
            SYS(mprotect(s->at + (size_t)from * PG, (size_t)n * PG, PROT_READ));
            SYS(mprotect(s->at + (size_t)from * PG, (size_t)n * PG, PROT_READ | PROT_WRITE));
        }
        return;
    case 6:
        if (real && !shared && (r >> 50) % 8 == 0 && c->seed == 1)
            child(s, tag);
        return;
    case 7:
        for (unsigned p = from; p < from + n; p++)
            put(s, p, tag + 2 * p, real);
        return;
    case 8:
    case 9:
    case 10:
        put_by_read(s, from, tag, real);
        return;
    default:
        for (unsigned k = 0; k < 4; k++)
            put(s, (from + (sparse ? 1009 : 17) * k) % s->pages, tag + 2 * k, real);
    }
}
static void verify(struct churn *c)
{
    struct churn anew = {.seed = c->seed};
    while (anew.steps < c->steps)
        step(&anew, 0, 1);
    for (int i = 0; i < SLOTS; i++) {
        CHECK_EQ("pages", anew.slot[i].pages, c->slot[i].pages);
        for (unsigned p = 0; p < anew.slot[i].pages; p++)
            check_page(&c->slot[i], p, anew.slot[i].tags[p]);
    }
}
static void some(struct churn *c)
{
    for (int i = 0; i < 20; i++)
        step(c, 1, 0);
    guest_nap();
}
static void *run(void *seed)
{
    struct churn c = {.seed = (uintptr_t)seed};
    while (!guest_going())
        some(&c);
    verify(&c);
    return NULL;
}
// Becomes itself again and again: memory of the one before is gone.
static void run_exec(char **argv)
{
    struct churn c = {.seed = 100 + (argv[2] ? atoi(argv[2]) : 0)};
    char next[16];
    while (!guest_going() && c.steps < 3000)
        some(&c);
    verify(&c);
    if (guest_going())
        _exit(0);
    sprintf(next, "%d", (int)c.seed - 99);
    execl("/proc/self/exe", argv[0], "again", next, NULL);
    guest_fail("exec: %s", strerror(errno));
}
int main(int argc, char **argv)
{
    pthread_t t[3];
    pid_t pid = 0;
    char note[32];
    SYS(pipe(pipe_));
    if (guest_is(argv, "again"))
        run_exec(argv);
    struct churn c = {.seed = 1};
    if (guest_is(argv, "fork"))
        shared_from = SLOTS;
    sparse = guest_is(argv, "sparse");
    if (sparse || guest_is(argv, "big"))
        scale = 8;
    for (int i = 0; i < 200; i++)
        step(&c, 1, 0);
    if (guest_is(argv, "fork") || guest_is(argv, "exec")) {
        pid = SYS(fork());
        if (pid == 0)
            SYS(pipe(pipe_)); // what goes through it is nobody else's
        if (pid == 0 && guest_is(argv, "exec"))
            run_exec((char *[]){argv[0], NULL, NULL});
        if (pid == 0) {
            // goes on from what it inherited
            while (!guest_going())
                some(&c);
            verify(&c);
            _exit(0);
        }
    }
    for (uintptr_t i = 0; guest_is(argv, "threads") && i < 3; i++)
        t[i] = guest_thread(run, (void *)(i + 2));
    guest_note("ready");
    for (int round = 1; !guest_noted("go");) {
        sprintf(note, "ping.%d", round);
        if (guest_noted(note)) {
            sprintf(note, "pong.%d", round++);
            guest_note(note);
        }
        some(&c);
    }
    for (int i = 0; guest_is(argv, "threads") && i < 3; i++)
        guest_join(t[i]);
    verify(&c);
    if (pid)
        guest_reap(pid, 0);
    return argc < 0;
}
