// Memory with something unusual to it: views without rights, a second namespace of libraries.
// args: dlmopen views_none shared_parts shared_none maps_same
#include "../guest.h"
#include <dlfcn.h>
static char text[1 << 20], then[1 << 20];
// Range, rights, offset and flags of each mapping between two addresses.
static void describe(char *out, unsigned long low, unsigned long high)
{
    char line[1024];
    unsigned long from = 0, to;
    FILE *f = fopen("/proc/self/smaps", "r");
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            out += from >= low && to <= high ? sprintf(out, "%.40s\n", line) : 0;
        else if (!strncmp(line, "VmFlags", 7) && from >= low && from < high)
            out += sprintf(out, "%s", line);
    }
    *out = 0;
    fclose(f);
}
int main(int argc, char **argv)
{
    CHECK(argc > 1);
    if (guest_is(argv, "dlmopen")) {
        void *h = dlmopen(LM_ID_NEWLM, "libm.so.6", RTLD_NOW);
        if (!h)
            SKIP("%s", dlerror());
        double (*f)(double) = (double (*)(double))dlsym(h, "sqrt");
        CHECK(f(16) == 4);
        guest_ready();
        CHECK(f(25) == 5);
        void *more = dlopen("libm.so.6", RTLD_NOW);
        CHECK(((double (*)(double))dlsym(more, "cbrt"))(27) > 2.99);
        CHECK_EQ("closed", 0, dlclose(h));
    } else if (guest_is(argv, "views_none")) {
        // Three views of one memory: to read, to write, and none at all.
        int f = SYS(memfd_create("v", 0));
        SYS(ftruncate(f, 16 * 4096));
        char *r = mmap(NULL, 16 * 4096, PROT_READ, MAP_SHARED, f, 0), *w = mmap(NULL, 8 * 4096, PROT_WRITE, MAP_SHARED, f, 4 * 4096), *n = mmap(NULL, 4096, PROT_NONE, MAP_SHARED, f, 5 * 4096), *p = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, f, 0);
        strcpy(p + 9 * 4096, "own"), strcpy(w, "given");
        close(f);
        guest_ready();
        CHECK_STR("view", "given", r + 4 * 4096);
        CHECK_STR("private view follows", "given", p + 4 * 4096);
        CHECK_STR("own page", "own", p + 9 * 4096);
        strcpy(w + 4096, "later");
        SYS(mprotect(n, 4096, PROT_READ));
        CHECK_STR("through all", "later", n);
    } else if (guest_is(argv, "shared_parts")) {
        // The child keeps another part of the shared memory than the parent.
        char *m = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        for (int i = 0; i < 64; i++)
            sprintf(m + i * 4096, "page %d", i);
        pid_t kid = SYS(fork());
        if (kid == 0) {
            SYS(munmap(m, 40 * 4096));
            guest_await_go();
            for (int i = 40; i < 64; i++) {
                char want[20];
                sprintf(want, "page %d", i);
                CHECK_STR("child's", want, m + i * 4096);
            }
            strcpy(m + 45 * 4096, "told");
            _exit(0);
        }
        SYS(munmap(m + 50 * 4096, 14 * 4096));
        guest_ready();
        guest_reap(kid, 0);
        CHECK_STR("parent's", "page 3", m + 3 * 4096);
        CHECK_STR("common", "told", m + 45 * 4096);
    } else if (guest_is(argv, "shared_none")) {
        char *m = mmap(NULL, 32 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        guest_fill(m, 32 * 4096, 8);
        SYS(mprotect(m, 32 * 4096, PROT_NONE));
        pid_t kid = SYS(fork());
        if (kid == 0) {
            guest_await_go();
            SYS(mprotect(m, 32 * 4096, PROT_READ | PROT_WRITE));
            guest_verify("child", m, 32 * 4096, 8);
            m[7]++;
            _exit(0);
        }
        guest_ready();
        guest_reap(kid, 0);
        SYS(mprotect(m, 32 * 4096, PROT_READ | PROT_WRITE));
        m[7]--;
        guest_verify("parent", m, 32 * 4096, 8);
    } else {
        // A zoo in one reserve: what the kernel says of each piece is the same afterwards.
        char *m = mmap(NULL, 1024 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        int f = SYS(open("/proc/self/exe", O_RDONLY)), v = SYS(memfd_create("zoo", 0)), t = SYS(open(PATH_OF("zoo"), O_RDWR | O_CREAT, 0600));
        SYS(ftruncate(v, 64 * 4096)), SYS(ftruncate(t, 64 * 4096));
        int at = 1;
#define NEXT(pages) (m + ((at += (pages) + 3) - (pages)) * 4096)
        int rights[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC, PROT_WRITE};
        for (int i = 0; i < 6; i++) {
            mmap(NEXT(2), 2 * 4096, rights[i], MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            mmap(NEXT(2), 2 * 4096, rights[i], MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            mmap(NEXT(2), 2 * 4096, rights[i], MAP_FIXED | MAP_PRIVATE, f, 4096);
            mmap(NEXT(2), 2 * 4096, rights[i], MAP_FIXED | MAP_SHARED, v, 4096 * 3 * i);
            mmap(NEXT(2), 2 * 4096, rights[i], MAP_FIXED | MAP_SHARED, t, 4096 * 5 * i);
            mmap(NEXT(2), 2 * 4096, rights[i], MAP_FIXED | MAP_PRIVATE, t, 4096 * 7 * i);
            mmap(NEXT(2), 2 * 4096, rights[i], MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        }
        int advice[] = {MADV_SEQUENTIAL, MADV_RANDOM, MADV_DONTFORK, MADV_DONTDUMP, MADV_WIPEONFORK, MADV_MERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE};
        for (int i = 0; i < 8; i++) {
            char *a = mmap(NEXT(2), 2 * 4096, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            madvise(a, 8192, advice[i]);
            char *b = mmap(NEXT(2), 2 * 4096, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, v, 0);
            madvise(b, 8192, advice[i]);
            char *c = mmap(NEXT(2), 2 * 4096, PROT_READ, MAP_FIXED | MAP_PRIVATE, f, 0);
            madvise(c, 8192, advice[i]);
        }
        mlock(mmap(NEXT(1), 4096, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
        mmap(NEXT(4), 4 * 4096, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
        mmap(NEXT(4), 4 * 4096, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        describe(then, (unsigned long)m, (unsigned long)m + 1024 * 4096);
        guest_ready();
        describe(text, (unsigned long)m, (unsigned long)m + 1024 * 4096);
        char *a = then, *b = text;
        for (int i = 1; *a || *b; i++) {
            char *x = strsep(&a, "\n"), *y = strsep(&b, "\n");
            if (!x || !y || strcmp(x, y))
                guest_fail("line %d: \"%s\" is \"%s\"", i, x ? x : "", y ? y : "");
            if (!a || !b)
                break;
        }
    }
    return 0;
}
