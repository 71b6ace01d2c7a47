// An alarm set before goes off after.
#include "../guest.h"
static volatile int rang;
static void handler(int s)
{
    (void)s;
    rang = 1;
}
int main(void)
{
    signal(SIGALRM, handler);
    alarm(1);
    guest_ready();
    AWAIT(rang);
    CHECK_EQ("alarm left", 0, alarm(0));
    return 0;
}
