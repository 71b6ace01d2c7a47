// A thread spins with eight values on the x87 stack and its own control word.
#include "../guest.h"
static volatile int stop, ready;
static long double out[8];
static unsigned short cw = 0x0e7f, cw_out;
static void *spin(void *x)
{
    (void)x;
    ready = 1;
    __asm__ volatile("fldcw %3\n fld1\n fldpi\n fldl2e\n fldlg2\n fldln2\n fldl2t\n fldz\n fld1\n"
                     "1: cmpl $0, (%0)\n je 1b\n"
                     "fstpt 0(%1)\n fstpt 16(%1)\n fstpt 32(%1)\n fstpt 48(%1)\n"
                     "fstpt 64(%1)\n fstpt 80(%1)\n fstpt 96(%1)\n fstpt 112(%1)\n fnstcw (%2)\n fninit\n"
                     :
                     : "r"(&stop), "r"(out), "r"(&cw_out), "m"(cw)
                     : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory", "cc");
    return NULL;
}
int main(void)
{
    pthread_t t = guest_thread(spin, NULL);
    AWAIT(ready);
    guest_ready();
    stop = 1;
    guest_join(t);
    CHECK(out[0] == 1 && out[1] == 0 && out[7] == 1);
    CHECK(out[6] > 3.14159265 && out[6] < 3.14159266);
    CHECK_EQ("control word", 0x0e7f, cw_out);
    return 0;
}
