// I/O priority of main and of a thread.
#include "../guest.h"
enum { BE5 = 2 << 13 | 5, IDLE = 3 << 13 };
static volatile int ready;
static void *thread(void *x)
{
    SYS(syscall(SYS_ioprio_set, 1, 0, IDLE));
    ready = 1;
    guest_await_go();
    CHECK_EQ("ioprio of the thread", IDLE, syscall(SYS_ioprio_get, 1, 0));
    return x;
}
int main(void)
{
    if (syscall(SYS_ioprio_set, 1, 0, BE5))
        SKIP("ioprio_set: %s", strerror(errno));
    pthread_t t = guest_thread(thread, NULL);
    AWAIT(ready);
    guest_ready();
    CHECK_EQ("ioprio", BE5, syscall(SYS_ioprio_get, 1, 0));
    guest_join(t);
    return 0;
}
