// Every thread has its own alternate stack; a signal after go runs on it.
#include "../guest.h"
static volatile int ready;
static __thread volatile uintptr_t seen;
static void handler(int s)
{
    char here;
    (void)s;
    seen = (uintptr_t)&here;
}
static void *run(void *x)
{
    stack_t mine = {.ss_size = 65536}, got;
    (void)x;
    mine.ss_sp = malloc(65536);
    SYS(sigaltstack(&mine, NULL));
    __sync_fetch_and_add(&ready, 1);
    guest_await_go();
    SYS(sigaltstack(NULL, &got));
    CHECK(got.ss_sp == mine.ss_sp && got.ss_size == mine.ss_size);
    CHECK_EQ("ss_flags", 0, got.ss_flags);
    PT(pthread_kill(pthread_self(), SIGUSR1));
    CHECK(seen > (uintptr_t)mine.ss_sp && seen < (uintptr_t)mine.ss_sp + 65536);
    return NULL;
}
int main(void)
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    SYS(sigaction(SIGUSR1, &sa, NULL));
    guest_crowd(3, run, &ready);
    stack_t got;
    SYS(sigaltstack(NULL, &got));
    CHECK_EQ("altstack of main", SS_DISABLE, got.ss_flags);
    return 0;
}
