// A thread made by the raw clone call, unknown to glibc.
#include "../guest.h"
static volatile int counter, up;
static volatile pid_t tid, cleared = -1;
static volatile int stop;
static long raw(long nr, long a, long b, long c)
{
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return r;
}
static int run(void *x)
{
    (void)x;
    tid = raw(SYS_gettid, 0, 0, 0);
    up = 1;
    while (!stop) {
        counter++;
        raw(SYS_sched_yield, 0, 0, 0);
    }
    up = raw(SYS_gettid, 0, 0, 0) == tid ? 2 : 3;
    raw(SYS_exit, 0, 0, 0);
    return 0;
}
int main(void)
{
    char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *tls = calloc(1, 4096);
    *(void **)(tls + 2048) = tls + 2048;
    SYS(clone(run, stack + 65536,
              CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                  CLONE_CHILD_CLEARTID,
              NULL, NULL, tls + 2048, &cleared));
    AWAIT(up == 1);
    guest_ready();
    int before = counter;
    AWAIT(counter > before + 10);
    stop = 1;
    AWAIT(up != 1);
    // A raw gettid is beyond the library's reach: only exact ids keep it.
    AWAIT(cleared == 0);
    return 0;
}
