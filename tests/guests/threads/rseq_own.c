// Restartable sequences that the program registers itself, as allocators do where glibc has none: a thread-local area of
// its own, of main and of a thread; another thread has the variable, but does not register it.
#include "../guest.h"
#include "processors.h"
#include <sys/rseq.h>
static _Thread_local struct {
    struct rseq r;
    char more[32];
} area __attribute__((aligned(64)));
static volatile int ready;
static void check(int c) { CHECK_EQ("processor", c, *(volatile int *)&area.r.cpu_id); }
static void follow(void) { on_each_processor(check); }
static void *with(void *x)
{
    SYS(syscall(SYS_rseq, &area, 32, 0, RSEQ_SIG));
    ready++;
    guest_await_go();
    follow();
    return x;
}
static void *without(void *x)
{
    *(volatile int *)&area.r.cpu_id = 0;
    ready++;
    guest_await_go();
    SYS(sched_yield());
    CHECK_EQ("an area that is not registered", 0, *(volatile int *)&area.r.cpu_id_start);
    SYS(syscall(SYS_rseq, &area, 32, 0, RSEQ_SIG));
    follow();
    return x;
}
int main(int argc, char **argv)
{
    (void)argc;
    if (!getenv("GLIBC_TUNABLES")) {
        setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
        execv("/proc/self/exe", argv);
    }
    if (__rseq_size)
        SKIP("glibc keeps its own");
    SYS(syscall(SYS_rseq, &area, 32, 0, RSEQ_SIG));
    follow();
    pthread_t a = guest_thread(with, NULL), b = guest_thread(without, NULL);
    AWAIT(ready == 2);
    guest_ready();
    follow();
    guest_join(a);
    guest_join(b);
    SYS(syscall(SYS_rseq, &area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG));
    return 0;
}
