// SS_AUTODISARM: the checkpoint comes while the handler runs on a disarmed alternate stack.
#include "../guest.h"
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
static void handler(int s)
{
    stack_t now;
    (void)s;
    SYS(sigaltstack(NULL, &now));
    CHECK_EQ("disarmed", SS_DISABLE, now.ss_flags);
    guest_ready();
    SYS(sigaltstack(NULL, &now));
    CHECK_EQ("disarmed", SS_DISABLE, now.ss_flags);
}
int main(void)
{
    stack_t st = {.ss_size = 65536, .ss_sp = malloc(65536), .ss_flags = SS_AUTODISARM}, now;
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    SYS(sigaltstack(&st, NULL));
    SYS(sigaction(SIGUSR1, &sa, NULL));
    SYS(raise(SIGUSR1));
    SYS(sigaltstack(NULL, &now));
    CHECK(now.ss_sp == st.ss_sp && (unsigned)now.ss_flags == SS_AUTODISARM);
    return 0;
}
