// A thread that ended before is joined after go; another is joined while main's helper waits for it.
#include "../guest.h"
static volatile pid_t joiner;
static void *ends(void *x) { return x; }
static void *lives(void *x)
{
    guest_await_go();
    return x;
}
static void *joins(void *x)
{
    joiner = gettid();
    return guest_join(*(pthread_t *)x);
}
int main(void)
{
    pthread_t done = guest_thread(ends, (void *)11), live = guest_thread(lives, (void *)22);
    pthread_t join = guest_thread(joins, &live);
    AWAIT(joiner);
    guest_await_in(joiner, SYS_futex);
    guest_ready();
    CHECK_EQ("ended before", 11, guest_join(done));
    CHECK_EQ("ended after", 22, guest_join(join));
    return 0;
}
