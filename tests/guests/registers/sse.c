// Two threads spin with a pattern in xmm0 to xmm15.
#include "../guest.h"
enum { SIZE = 256 };
static volatile int stop, ready;
static unsigned char in[2][SIZE] __attribute__((aligned(64))), out[2][SIZE] __attribute__((aligned(64)));
static void *spin(void *x)
{
    long n = (long)x;
    __sync_fetch_and_add(&ready, 1);
    __asm__ volatile("movups 0(%1), %%xmm0\n"
                     "movups 16(%1), %%xmm1\n"
                     "movups 32(%1), %%xmm2\n"
                     "movups 48(%1), %%xmm3\n"
                     "movups 64(%1), %%xmm4\n"
                     "movups 80(%1), %%xmm5\n"
                     "movups 96(%1), %%xmm6\n"
                     "movups 112(%1), %%xmm7\n"
                     "movups 128(%1), %%xmm8\n"
                     "movups 144(%1), %%xmm9\n"
                     "movups 160(%1), %%xmm10\n"
                     "movups 176(%1), %%xmm11\n"
                     "movups 192(%1), %%xmm12\n"
                     "movups 208(%1), %%xmm13\n"
                     "movups 224(%1), %%xmm14\n"
                     "movups 240(%1), %%xmm15\n"
                     "1: cmpl $0, (%0)\n je 1b\n"
                     "movups %%xmm0, 0(%2)\n"
                     "movups %%xmm1, 16(%2)\n"
                     "movups %%xmm2, 32(%2)\n"
                     "movups %%xmm3, 48(%2)\n"
                     "movups %%xmm4, 64(%2)\n"
                     "movups %%xmm5, 80(%2)\n"
                     "movups %%xmm6, 96(%2)\n"
                     "movups %%xmm7, 112(%2)\n"
                     "movups %%xmm8, 128(%2)\n"
                     "movups %%xmm9, 144(%2)\n"
                     "movups %%xmm10, 160(%2)\n"
                     "movups %%xmm11, 176(%2)\n"
                     "movups %%xmm12, 192(%2)\n"
                     "movups %%xmm13, 208(%2)\n"
                     "movups %%xmm14, 224(%2)\n"
                     "movups %%xmm15, 240(%2)\n"
                     :
                     : "r"(&stop), "r"(in[n]), "r"(out[n])
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory", "cc");
    return NULL;
}
int main(void)
{
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
