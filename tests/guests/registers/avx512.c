// Two threads spin with a pattern in zmm0 to zmm31.
// cc: -mavx512f
#include "../guest.h"
enum { SIZE = 2048 };
static volatile int stop, ready;
static unsigned char in[2][SIZE] __attribute__((aligned(64))), out[2][SIZE] __attribute__((aligned(64)));
static void *spin(void *x)
{
    long n = (long)x;
    __sync_fetch_and_add(&ready, 1);
    __asm__ volatile("vmovups 0(%1), %%zmm0\n"
                     "vmovups 64(%1), %%zmm1\n"
                     "vmovups 128(%1), %%zmm2\n"
                     "vmovups 192(%1), %%zmm3\n"
                     "vmovups 256(%1), %%zmm4\n"
                     "vmovups 320(%1), %%zmm5\n"
                     "vmovups 384(%1), %%zmm6\n"
                     "vmovups 448(%1), %%zmm7\n"
                     "vmovups 512(%1), %%zmm8\n"
                     "vmovups 576(%1), %%zmm9\n"
                     "vmovups 640(%1), %%zmm10\n"
                     "vmovups 704(%1), %%zmm11\n"
                     "vmovups 768(%1), %%zmm12\n"
                     "vmovups 832(%1), %%zmm13\n"
                     "vmovups 896(%1), %%zmm14\n"
                     "vmovups 960(%1), %%zmm15\n"
                     "vmovups 1024(%1), %%zmm16\n"
                     "vmovups 1088(%1), %%zmm17\n"
                     "vmovups 1152(%1), %%zmm18\n"
                     "vmovups 1216(%1), %%zmm19\n"
                     "vmovups 1280(%1), %%zmm20\n"
                     "vmovups 1344(%1), %%zmm21\n"
                     "vmovups 1408(%1), %%zmm22\n"
                     "vmovups 1472(%1), %%zmm23\n"
                     "vmovups 1536(%1), %%zmm24\n"
                     "vmovups 1600(%1), %%zmm25\n"
                     "vmovups 1664(%1), %%zmm26\n"
                     "vmovups 1728(%1), %%zmm27\n"
                     "vmovups 1792(%1), %%zmm28\n"
                     "vmovups 1856(%1), %%zmm29\n"
                     "vmovups 1920(%1), %%zmm30\n"
                     "vmovups 1984(%1), %%zmm31\n"
                     "1: cmpl $0, (%0)\n je 1b\n"
                     "vmovups %%zmm0, 0(%2)\n"
                     "vmovups %%zmm1, 64(%2)\n"
                     "vmovups %%zmm2, 128(%2)\n"
                     "vmovups %%zmm3, 192(%2)\n"
                     "vmovups %%zmm4, 256(%2)\n"
                     "vmovups %%zmm5, 320(%2)\n"
                     "vmovups %%zmm6, 384(%2)\n"
                     "vmovups %%zmm7, 448(%2)\n"
                     "vmovups %%zmm8, 512(%2)\n"
                     "vmovups %%zmm9, 576(%2)\n"
                     "vmovups %%zmm10, 640(%2)\n"
                     "vmovups %%zmm11, 704(%2)\n"
                     "vmovups %%zmm12, 768(%2)\n"
                     "vmovups %%zmm13, 832(%2)\n"
                     "vmovups %%zmm14, 896(%2)\n"
                     "vmovups %%zmm15, 960(%2)\n"
                     "vmovups %%zmm16, 1024(%2)\n"
                     "vmovups %%zmm17, 1088(%2)\n"
                     "vmovups %%zmm18, 1152(%2)\n"
                     "vmovups %%zmm19, 1216(%2)\n"
                     "vmovups %%zmm20, 1280(%2)\n"
                     "vmovups %%zmm21, 1344(%2)\n"
                     "vmovups %%zmm22, 1408(%2)\n"
                     "vmovups %%zmm23, 1472(%2)\n"
                     "vmovups %%zmm24, 1536(%2)\n"
                     "vmovups %%zmm25, 1600(%2)\n"
                     "vmovups %%zmm26, 1664(%2)\n"
                     "vmovups %%zmm27, 1728(%2)\n"
                     "vmovups %%zmm28, 1792(%2)\n"
                     "vmovups %%zmm29, 1856(%2)\n"
                     "vmovups %%zmm30, 1920(%2)\n"
                     "vmovups %%zmm31, 1984(%2)\n"
                     :
                     : "r"(&stop), "r"(in[n]), "r"(out[n])
                     : "zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm5", "zmm6", "zmm7", "zmm8", "zmm9", "zmm10", "zmm11", "zmm12", "zmm13", "zmm14", "zmm15", "zmm16", "zmm17", "zmm18", "zmm19", "zmm20", "zmm21", "zmm22", "zmm23", "zmm24", "zmm25", "zmm26", "zmm27", "zmm28", "zmm29", "zmm30", "zmm31", "memory", "cc");
    return NULL;
}
int main(void)
{
    if (!__builtin_cpu_supports("avx512f"))
        SKIP("no avx512f on this CPU");
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
