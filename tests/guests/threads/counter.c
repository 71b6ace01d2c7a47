// One thread and a counter: the smallest program.
#include "../guest.h"
int main(void)
{
    static volatile int counter;
    volatile int on_stack = 41;
    counter = 7;
    guest_ready();
    CHECK_EQ("static counter", 7, counter);
    CHECK_EQ("stack variable", 41, on_stack);
    puts("done");
    return 0;
}
