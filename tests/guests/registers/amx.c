// AMX tile data of a spinning thread, with its permission.
#include "../guest.h"
#include <cpuid.h>
#ifndef ARCH_REQ_XCOMP_PERM
#define ARCH_REQ_XCOMP_PERM 0x1023
#endif
static volatile int stop, ready;
static unsigned char in[1024], out[1024];
static struct {
    unsigned char palette, start, reserved[14];
    unsigned short cols[16];
    unsigned char rows[16];
} __attribute__((packed)) cfg = {.palette = 1, .cols = {64}, .rows = {16}};
static void *spin(void *x)
{
    (void)x;
    ready = 1;
    // ldtilecfg (%rdi); tileloadd (%rsi,%rdx,1), tmm0; spin; tilestored tmm0, (%rcx,%rdx,1); tilerelease
    __asm__ volatile(".byte 0xc4,0xe2,0x78,0x49,0x07\n .byte 0xc4,0xe2,0x7b,0x4b,0x04,0x16\n"
                     "1: cmpl $0, (%%rax)\n je 1b\n"
                     ".byte 0xc4,0xe2,0x7a,0x4b,0x04,0x11\n .byte 0xc4,0xe2,0x78,0x49,0xc0\n"
                     :
                     : "D"(&cfg), "S"(in), "d"(64L), "c"(out), "a"(&stop)
                     : "memory", "cc");
    return NULL;
}
int main(void)
{
    unsigned a, b, c, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1) || syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, 18))
        SKIP("no AMX here");
    guest_fill(in, sizeof in, 9);
    pthread_t t = guest_thread(spin, NULL);
    AWAIT(ready);
    guest_ready();
    stop = 1;
    guest_join(t);
    guest_verify("tile", out, sizeof out, 9);
    return 0;
}
