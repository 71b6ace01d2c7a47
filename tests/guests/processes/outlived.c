// The first process exits after go while its child works on and ends by itself.
#include "../guest.h"
int main(void)
{
    guest_note("parent");
    pid_t me = getpid();
    if (fork() == 0) {
        guest_await_go();
        AWAIT(getppid() != me);
        guest_note("child.ok");
        _exit(0);
    }
    guest_ready();
    return 0;
}
