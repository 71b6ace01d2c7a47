// The bounding set is what it was, also of a process without any capability.
#include "../guest.h"
static unsigned long long bounding(void)
{
    unsigned long long set = 0;
    for (int cap = 0, has; cap < 64 && (has = prctl(PR_CAPBSET_READ, cap)) >= 0; cap++)
        set |= (unsigned long long)has << cap;
    return set;
}
static unsigned long long before;
static volatile int ready;
static void *thread(void *x)
{
    ready = 1;
    guest_await_go();
    CHECK_EQ("bounding set of the thread", before, bounding());
    return x;
}
int main(void)
{
    before = bounding();
    pthread_t t = guest_thread(thread, NULL);
    AWAIT(ready);
    guest_ready();
    CHECK_EQ("bounding set", before, bounding());
    guest_join(t);
    return 0;
}
