// Two threads spin with a pattern in every vector register. Before it: MOVE, REG, WIDTH (bytes), NUMBERS, CLOBBERS and
// COUNT say which; NEEDS names the feature of the processor.
#include "../guest.h"
enum { SIZE = COUNT * WIDTH };
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
static volatile int stop, ready;
static unsigned char in[2][SIZE] __attribute__((aligned(64))), out[2][SIZE] __attribute__((aligned(64)));
static void *spin(void *x)
{
    long n = (long)x;
    __sync_fetch_and_add(&ready, 1);
    __asm__ volatile(".irp n," NUMBERS "\n" MOVE " \\n*" TEXT(WIDTH) "(%1), %%" REG "\\n\n.endr\n"
                     "1: cmpl $0, (%0)\n je 1b\n"
                     ".irp n," NUMBERS "\n" MOVE " %%" REG "\\n, \\n*" TEXT(WIDTH) "(%2)\n.endr\n"
                     :
                     : "r"(&stop), "r"(in[n]), "r"(out[n])
                     : CLOBBERS, "memory", "cc");
    return NULL;
}
int main(void)
{
    if (!__builtin_cpu_supports(NEEDS))
        SKIP("no " NEEDS " on this CPU");
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
