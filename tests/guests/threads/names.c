// Names of threads: set, read back by pthread, prctl and /proc.
#include "../guest.h"
static volatile int ready;
static void *run(void *x)
{
    char want[16], got[32];
    sprintf(want, "worker-%ld", (long)x);
    PT(pthread_setname_np(pthread_self(), want));
    __sync_fetch_and_add(&ready, 1);
    guest_await_go();
    SYS(prctl(PR_GET_NAME, got));
    CHECK_STR("prctl name", want, got);
    PT(pthread_getname_np(pthread_self(), got, sizeof got));
    CHECK_STR("pthread name", want, got);
    guest_await("asked");
    return NULL;
}
int main(void)
{
    pthread_t t[3];
    char got[32], comm[32];
    SYS(prctl(PR_SET_NAME, "the main one"));
    for (long i = 0; i < 3; i++)
        t[i] = guest_thread(run, (void *)i);
    AWAIT(ready == 3);
    guest_ready();
    PT(pthread_getname_np(t[1], got, sizeof got));
    CHECK_STR("name of another", "worker-1", got);
    guest_note("asked");
    for (int i = 0; i < 3; i++)
        guest_join(t[i]);
    SYS(prctl(PR_GET_NAME, got));
    CHECK_STR("main name", "the main one", got);
    CHECK(guest_read_text("/proc/self/comm", comm, sizeof comm) > 0);
    CHECK_STR("comm", "the main one\n", comm);
    return 0;
}
