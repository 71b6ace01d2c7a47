// A leaf keeps values in the 128 bytes below its stack pointer while it spins.
#include "../guest.h"
static volatile int stop, ready;
static unsigned long first, last;
static void *spin(void *x)
{
    (void)x;
    ready = 1;
    __asm__ volatile("movq $0x77, -128(%%rsp)\n movq $0x55, -8(%%rsp)\n"
                     "1: cmpl $0, (%2)\n je 1b\n"
                     "mov -128(%%rsp), %0\n mov -8(%%rsp), %1\n"
                     : "=&r"(last), "=&r"(first)
                     : "r"(&stop)
                     : "memory", "cc");
    return NULL;
}
int main(void)
{
    pthread_t t = guest_thread(spin, NULL);
    AWAIT(ready);
    guest_ready();
    stop = 1;
    guest_join(t);
    CHECK_EQ("-128(%rsp)", 0x77, last);
    CHECK_EQ("-8(%rsp)", 0x55, first);
    return 0;
}
