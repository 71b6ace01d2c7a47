// setjmp buffers and ucontext coroutines made before are used after.
#include "../guest.h"
static ucontext_t home, co;
static jmp_buf env;
static int steps;
static void coroutine(void)
{
    double kept = 2.5;
    for (;;) {
        steps++;
        swapcontext(&co, &home);
        CHECK(kept == 2.5);
    }
}
int main(void)
{
    static char stack[65536];
    SYS(getcontext(&co));
    co.uc_stack.ss_sp = stack;
    co.uc_stack.ss_size = sizeof stack;
    co.uc_link = &home;
    makecontext(&co, coroutine, 0);
    SYS(swapcontext(&home, &co));
    if (setjmp(env) == 0) {
        guest_ready();
        SYS(swapcontext(&home, &co));
        SYS(swapcontext(&home, &co));
        CHECK_EQ("steps", 3, steps);
        longjmp(env, 1);
    }
    return 0;
}
