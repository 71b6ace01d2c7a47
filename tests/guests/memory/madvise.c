// MADV_DONTFORK, MADV_WIPEONFORK, MADV_DONTDUMP, MADV_MERGEABLE and NOHUGEPAGE flags hold.
#include "../guest.h"
static char *dontfork, *wipe;
static int has_flag(void *at, const char *flag)
{
    char line[512], want[32];
    FILE *f = fopen("/proc/self/smaps", "r");
    int here = 0, found = 0;
    sprintf(want, "%lx-", (long)at);
    while (fgets(line, sizeof line, f)) {
        if (isxdigit(line[0]) && strchr(line, '-') && strchr(line, '-') < strchr(line, ' '))
            here = !strncmp(line, want, strlen(want));
        if (here && !strncmp(line, "VmFlags:", 8))
            found = strstr(line, flag) != NULL;
    }
    fclose(f);
    return found;
}
static char *page(int advice)
{
    // Apart from its neighbours, so that no two are merged.
    char *m = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SYS(mprotect(m + 4096, 4096, PROT_READ | PROT_WRITE));
    guest_fill(m + 4096, 4096, 8);
    SYS(madvise(m + 4096, 4096, advice));
    return m + 4096;
}
static void child(void)
{
    CHECK_EQ("wiped", 0, wipe[0] | wipe[4095]);
    unsigned char vec;
    CHECK_EQ("mincore of an absent page", -1, mincore(dontfork, 4096, &vec));
}
int main(void)
{
    dontfork = page(MADV_DONTFORK);
    wipe = page(MADV_WIPEONFORK);
    char *dump = page(MADV_DONTDUMP), *huge = page(MADV_NOHUGEPAGE), *seq = page(MADV_SEQUENTIAL);
    guest_ready();
    guest_verify("dontfork", dontfork, 4096, 8);
    guest_verify("wipeonfork", wipe, 4096, 8);
    CHECK_EQ("dd flag", 1, has_flag(dump, " dd"));
    CHECK_EQ("nh flag", 1, has_flag(huge, " nh"));
    CHECK_EQ("sr flag", 1, has_flag(seq, " sr"));
    CHECK_EQ("dc flag", 1, has_flag(dontfork, " dc"));
    guest_reap(guest_fork(child), 0);
    return 0;
}
