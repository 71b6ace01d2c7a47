// Settings of prctl: no_new_privs, timer slack, dumpable, keepcaps, subreaper, THP, MDWE, speculation and others.
// args: no_new_privs timer_slack dumpable keepcaps subreaper thp_disable mdwe tsc name io_flusher memory_merge
#include "../guest.h"
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif
static const struct {
    const char *name;
    int set, get;
    unsigned long value;
    int by_pointer;
} list[] = {
    {"no_new_privs", PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, 1, 0},
    {"timer_slack", PR_SET_TIMERSLACK, PR_GET_TIMERSLACK, 123456, 0},
    {"dumpable", PR_SET_DUMPABLE, PR_GET_DUMPABLE, 0, 0},
    {"keepcaps", PR_SET_KEEPCAPS, PR_GET_KEEPCAPS, 1, 0},
    {"subreaper", PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER, 1, 1},
    {"thp_disable", PR_SET_THP_DISABLE, PR_GET_THP_DISABLE, 1, 0},
    {"mdwe", PR_SET_MDWE, PR_GET_MDWE, 1, 0},
    {"tsc", PR_SET_TSC, PR_GET_TSC, 2, 1},
    {"io_flusher", 57, 58, 1, 0},
    {"memory_merge", PR_SET_MEMORY_MERGE, PR_GET_MEMORY_MERGE, 1, 0},
};
int main(int argc, char **argv)
{
    for (unsigned i = 0; argc > 1 && i < sizeof list / sizeof *list; i++) {
        if (strcmp(argv[1], list[i].name))
            continue;
        // PR_TSC_SIGSEGV would break the vdso: only its default is tested.
        unsigned long value = list[i].set == PR_SET_TSC ? 1 : list[i].value;
        if (prctl(list[i].set, value, 0, 0, 0))
            SKIP("%s: %s", argv[1], strerror(errno));
        guest_ready();
        int via = -1;
        long got = list[i].by_pointer ? SYS(prctl(list[i].get, &via, 0, 0, 0)) : SYS(prctl(list[i].get, 0, 0, 0, 0));
        CHECK_EQ(argv[1], value, list[i].by_pointer ? via : got);
        return 0;
    }
    char name[16];
    SYS(prctl(PR_SET_NAME, "a kernel name"));
    guest_ready();
    SYS(prctl(PR_GET_NAME, name));
    CHECK_STR("name", "a kernel name", name);
    return 0;
}
