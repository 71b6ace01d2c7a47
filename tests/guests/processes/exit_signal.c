// A program that dies by a signal: the launcher reports 128 + the signal, or dies of it too.
// expect: SIGTERM
#include "../guest.h"
int main(void)
{
    guest_ready();
    kill(getpid(), SIGTERM);
    for (;;)
        pause();
}
