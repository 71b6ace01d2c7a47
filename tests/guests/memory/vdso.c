// The vdso is called at the address known before.
#include "../guest.h"
#include <sys/auxv.h>
static int (*volatile gettime)(clockid_t, struct timespec *) = clock_gettime;
int main(void)
{
    struct timespec a, b;
    CHECK(getauxval(AT_SYSINFO_EHDR) != 0);
    CHECK_EQ("before", 0, gettime(CLOCK_MONOTONIC, &a));
    guest_ready();
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ("after", 0, gettime(CLOCK_MONOTONIC, &b));
        CHECK(b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
        a = b;
        CHECK(sched_getcpu() >= 0);
        CHECK(time(NULL) > 1600000000);
    }
    return 0;
}
