// Two threads spin with a pattern in ymm0 to ymm15.
// cc: -mavx
#include "../guest.h"
enum { SIZE = 512 };
static volatile int stop, ready;
static unsigned char in[2][SIZE] __attribute__((aligned(64))), out[2][SIZE] __attribute__((aligned(64)));
static void *spin(void *x)
{
    long n = (long)x;
    __sync_fetch_and_add(&ready, 1);
    __asm__ volatile("vmovups 0(%1), %%ymm0\n"
                     "vmovups 32(%1), %%ymm1\n"
                     "vmovups 64(%1), %%ymm2\n"
                     "vmovups 96(%1), %%ymm3\n"
                     "vmovups 128(%1), %%ymm4\n"
                     "vmovups 160(%1), %%ymm5\n"
                     "vmovups 192(%1), %%ymm6\n"
                     "vmovups 224(%1), %%ymm7\n"
                     "vmovups 256(%1), %%ymm8\n"
                     "vmovups 288(%1), %%ymm9\n"
                     "vmovups 320(%1), %%ymm10\n"
                     "vmovups 352(%1), %%ymm11\n"
                     "vmovups 384(%1), %%ymm12\n"
                     "vmovups 416(%1), %%ymm13\n"
                     "vmovups 448(%1), %%ymm14\n"
                     "vmovups 480(%1), %%ymm15\n"
                     "1: cmpl $0, (%0)\n je 1b\n"
                     "vmovups %%ymm0, 0(%2)\n"
                     "vmovups %%ymm1, 32(%2)\n"
                     "vmovups %%ymm2, 64(%2)\n"
                     "vmovups %%ymm3, 96(%2)\n"
                     "vmovups %%ymm4, 128(%2)\n"
                     "vmovups %%ymm5, 160(%2)\n"
                     "vmovups %%ymm6, 192(%2)\n"
                     "vmovups %%ymm7, 224(%2)\n"
                     "vmovups %%ymm8, 256(%2)\n"
                     "vmovups %%ymm9, 288(%2)\n"
                     "vmovups %%ymm10, 320(%2)\n"
                     "vmovups %%ymm11, 352(%2)\n"
                     "vmovups %%ymm12, 384(%2)\n"
                     "vmovups %%ymm13, 416(%2)\n"
                     "vmovups %%ymm14, 448(%2)\n"
                     "vmovups %%ymm15, 480(%2)\n"
                     :
                     : "r"(&stop), "r"(in[n]), "r"(out[n])
                     : "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9", "ymm10", "ymm11", "ymm12", "ymm13", "ymm14", "ymm15", "memory", "cc");
    return NULL;
}
int main(void)
{
    if (!__builtin_cpu_supports("avx"))
        SKIP("no avx on this CPU");
    guest_fill(in[0], SIZE, 1);
    guest_fill(in[1], SIZE, 2);
    pthread_t a = guest_thread(spin, (void *)0), b = guest_thread(spin, (void *)1);
    AWAIT(ready == 2);
    guest_ready();
    stop = 1;
    guest_join(a);
    guest_join(b);
    guest_verify("first thread", out[0], SIZE, 1);
    guest_verify("second thread", out[1], SIZE, 2);
    return 0;
}
