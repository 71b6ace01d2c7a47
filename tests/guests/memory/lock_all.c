// mlockall: what is mapped later is locked too; on-fault locks stay on-fault.
// args: future onfault range
#include "../guest.h"
static int has_flag(void *at, const char *flag)
{
    char line[512];
    FILE *f = fopen("/proc/self/smaps", "r");
    int here = 0, found = 0;
    unsigned long from, to;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = from <= (unsigned long)at && (unsigned long)at < to;
        if (here && !strncmp(line, "VmFlags:", 8))
            found = strstr(line, flag) != NULL;
    }
    fclose(f);
    return found;
}
static char *page(void) { return mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
int main(int argc, char **argv)
{
    (void)argc;
    unsigned char vec[16];
    char *m = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guest_is(argv, "range"))
        SYS(syscall(SYS_mlock2, m, 16 * 4096, 1));
    else if (mlockall(MCL_CURRENT | MCL_FUTURE | (guest_is(argv, "onfault") ? 4 : 0)))
        SKIP("mlockall: %s", strerror(errno));
    m[0] = 1;
    guest_ready();
    CHECK_EQ("locked", 1, has_flag(m, " lo"));
    if (!guest_is(argv, "future")) {
        SYS(mincore(m, 16 * 4096, vec));
        CHECK_EQ("page that was never touched", 0, vec[9] & 1);
    }
    if (!guest_is(argv, "range")) {
        CHECK_EQ("later mapping", 1, has_flag(page(), " lo"));
        SYS(munlockall());
        CHECK_EQ("after munlockall", 0, has_flag(page(), " lo"));
    }
    return 0;
}
