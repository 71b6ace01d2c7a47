// The only thread of a program keeps checkpoints off most of the time; calls in its sections are not interrupted.
#include "../guest.h"
#include "../../../include/ckpt/ckpt.h"
static void section(void)
{
    struct timespec ms = {0, 20000000};
    ckpt_delay();
    SYS(poll(NULL, 0, 5));
    SYS(nanosleep(&ms, NULL));
    ckpt_allow();
}
int main(void)
{
    char ping[32];
    guest_note("ready");
    for (int round = 1; !guest_noted("go");) {
        section();
        sprintf(ping, "ping.%d", round);
        if (guest_noted(ping)) {
            sprintf(ping, "pong.%d", round++);
            guest_note(ping);
        }
    }
    return 0;
}
