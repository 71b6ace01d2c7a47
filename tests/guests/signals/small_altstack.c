// In a handler on an alternate stack: large enough for one more signal, or refused, by the main thread or by another.
// args: large small of_thread
#include "../guest.h"
static char memory[65536] __attribute__((aligned(64)));
static void waits(int s)
{
    (void)s;
    volatile char used[1500];
    used[0] = 1;
    CHECK((char *)used > memory && (char *)used < memory + sizeof memory);
    guest_note("inside");
    while (!guest_noted("go"))
        guest_nap();
    CHECK_EQ("what lies on the stack", 1, used[0]);
}
static void enter(size_t size)
{
    stack_t own = {.ss_sp = memory + 32768, .ss_size = size};
    SYS(sigaltstack(&own, NULL));
    struct sigaction act = {.sa_handler = waits, .sa_flags = SA_ONSTACK};
    SYS(sigaction(SIGUSR1, &act, NULL));
    memset(memory, 0x5a, 32768);
    PT(pthread_kill(pthread_self(), SIGUSR1));
    for (int i = 0; i < 32768; i++)
        CHECK_EQ("below the stack", 0x5a, memory[i]);
}
static void *thread(void *none)
{
    enter(8192);
    return none;
}
static void *harness(void *none)
{
    guest_await("inside");
    guest_ready();
    return none;
}
int main(int argc, char **argv)
{
    (void)argc;
    // What the handler calls is looked up before: the loader needs more stack for that than there is.
    guest_noted("go");
    guest_nap();
    guest_note("begun");
    if (!guest_is(argv, "large"))
        guest_refused("alternate stack of 8192 bytes");
    if (guest_is(argv, "of_thread")) {
        pthread_t other = guest_thread(thread, NULL);
        harness(NULL);
        guest_join(other);
    } else {
        pthread_t other = guest_thread(harness, NULL);
        enter(guest_is(argv, "large") ? 32768 : 8192);
        guest_join(other);
    }
    return 0;
}
