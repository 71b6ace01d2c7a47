// Rounding mode, exception flags and mxcsr of each thread.
#include "../guest.h"
#include <fenv.h>
static const int modes[4] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
static volatile int ready;
static void *run(void *x)
{
    long n = (long)x;
    fesetround(modes[n]);
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(n & 1 ? FE_DIVBYZERO : FE_OVERFLOW);
    unsigned mxcsr = __builtin_ia32_stmxcsr() | (n & 2 ? 0x8040 : 0);
    __builtin_ia32_ldmxcsr(mxcsr);
    __sync_fetch_and_add(&ready, 1);
    while (!guest_going()) {
    }
    CHECK_EQ("rounding", modes[n], fegetround());
    CHECK_EQ("mxcsr", mxcsr, __builtin_ia32_stmxcsr());
    CHECK(fetestexcept(n & 1 ? FE_DIVBYZERO : FE_OVERFLOW));
    CHECK(!fetestexcept(n & 1 ? FE_OVERFLOW : FE_DIVBYZERO));
    return NULL;
}
int main(void)
{
    guest_crowd(4, run, &ready);
    return 0;
}
