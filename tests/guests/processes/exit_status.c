// The exit status of the program is the exit status of the launcher and of the restart.
// expect: 42
#include "../guest.h"
static void at_exit(void) { puts("atexit ran"); }
int main(void)
{
    atexit(at_exit);
    guest_ready();
    exit(42);
}
