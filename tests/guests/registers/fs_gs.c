// The fs and gs base of each thread.
#include "../guest.h"
#include <asm/prctl.h>
static volatile int ready;
static unsigned long cell[4] = {100, 101, 102, 103};
static void *run(void *x)
{
    long n = (long)x + 1;
    unsigned long fs, fs2, gs, via;
    SYS(syscall(SYS_arch_prctl, ARCH_SET_GS, &cell[n]));
    SYS(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs));
    __sync_fetch_and_add(&ready, 1);
    guest_await_go();
    SYS(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs));
    SYS(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs2));
    __asm__ volatile("mov %%gs:0, %0" : "=r"(via));
    CHECK_EQ("gs", (long)&cell[n], gs);
    CHECK_EQ("fs", fs, fs2);
    CHECK_EQ("through gs", 100 + n, via);
    return NULL;
}
int main(void)
{
    guest_crowd(3, run, &ready);
    unsigned long gs = 1;
    SYS(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs));
    CHECK_EQ("gs of main", 0, gs);
    return 0;
}
