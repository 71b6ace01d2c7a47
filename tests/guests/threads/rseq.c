// Restartable sequences stay registered: sched_getcpu, which reads them, follows the thread.
#include "../guest.h"
#include "processors.h"
#include <sys/rseq.h>
static volatile int ready;
static void check(int c)
{
    unsigned cpu;
    SYS(syscall(SYS_getcpu, &cpu, NULL, NULL));
    struct rseq *r = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
    CHECK_EQ("getcpu", c, cpu);
    CHECK_EQ("rseq cpu", c, *(volatile int *)&r->cpu_id);
    CHECK_EQ("sched_getcpu", c, sched_getcpu());
}
static void follow(void) { on_each_processor(check); }
static void *run(void *x)
{
    (void)x;
    ready = 1;
    guest_await_go();
    follow();
    return NULL;
}
int main(void)
{
    if (!__rseq_size)
        SKIP("glibc has registered no rseq");
    follow();
    pthread_t t = guest_thread(run, NULL);
    AWAIT(ready);
    guest_ready();
    follow();
    guest_join(t);
    return 0;
}
