// A thread spins with values in the AVX-512 mask registers.
// cc: -mavx512f -mavx512bw
#include "../guest.h"
static volatile int stop, ready;
static unsigned long out[7];
static void *spin(void *x)
{
    (void)x;
    ready = 1;
    __asm__ volatile("mov $0x123456789abc, %%rax\n kmovq %%rax, %%k1\n inc %%rax\n kmovq %%rax, %%k2\n inc %%rax\n"
                     "kmovq %%rax, %%k3\n inc %%rax\n kmovq %%rax, %%k4\n inc %%rax\n kmovq %%rax, %%k5\n inc %%rax\n"
                     "kmovq %%rax, %%k6\n inc %%rax\n kmovq %%rax, %%k7\n"
                     "1: cmpl $0, (%0)\n je 1b\n"
                     "kmovq %%k1, 0(%1)\n kmovq %%k2, 8(%1)\n kmovq %%k3, 16(%1)\n kmovq %%k4, 24(%1)\n"
                     "kmovq %%k5, 32(%1)\n kmovq %%k6, 40(%1)\n kmovq %%k7, 48(%1)\n"
                     :
                     : "r"(&stop), "r"(out)
                     : "rax", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "memory", "cc");
    return NULL;
}
int main(void)
{
    if (!__builtin_cpu_supports("avx512bw"))
        SKIP("no avx512bw on this CPU");
    pthread_t t = guest_thread(spin, NULL);
    AWAIT(ready);
    guest_ready();
    stop = 1;
    guest_join(t);
    for (int i = 0; i < 7; i++)
        CHECK_EQ("mask register", 0x123456789abc + i, out[i]);
    return 0;
}
