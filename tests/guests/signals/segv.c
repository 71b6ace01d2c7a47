// A SIGSEGV handler on an alternate stack still catches faults, with the right address.
#include "../guest.h"
static sigjmp_buf env;
static void *volatile at;
static void handler(int s, siginfo_t *i, void *c)
{
    (void)s, (void)c;
    at = i->si_addr;
    siglongjmp(env, 1);
}
int main(void)
{
    stack_t st = {.ss_size = 65536, .ss_sp = malloc(65536)};
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    char *ro = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SYS(sigaltstack(&st, NULL));
    SYS(sigaction(SIGSEGV, &sa, NULL));
    guest_ready();
    if (sigsetjmp(env, 1) == 0)
        *(volatile char *)(ro + 5) = 1;
    CHECK(at == ro + 5);
    if (sigsetjmp(env, 1) == 0)
        *(volatile char *)16 = 1;
    CHECK(at == (void *)16);
    return 0;
}
