// In a handler on an alternate stack: large enough for one more signal, or refused, by the main thread or by another.
// args: large small of_thread
#include <alloca.h>
#include <sys/auxv.h>
#include "../guest.h"
// What a checkpoint needs beside the kernel's frame, which is larger where the processor has more registers.
enum { OWN = 1152, BELOW = 32768, LARGE = 65536 };
static size_t size, left;
static char memory[BELOW + LARGE] __attribute__((aligned(64)));
static void waits(int s)
{
    (void)s;
    // Where little is to be left, so much is, whatever the frame has taken.
    char *top = __builtin_frame_address(0);
    volatile char *used = alloca(size == LARGE ? 1500 : top - (memory + BELOW) - left);
    used[0] = 1;
    CHECK((char *)used > memory + BELOW && (char *)used < memory + BELOW + size);
    guest_note("inside");
    while (!guest_noted("go"))
        guest_nap();
    CHECK_EQ("what lies on the stack", 1, used[0]);
}
static void enter(void)
{
    stack_t own = {.ss_sp = memory + BELOW, .ss_size = size};
    SYS(sigaltstack(&own, NULL));
    struct sigaction act = {.sa_handler = waits, .sa_flags = SA_ONSTACK};
    SYS(sigaction(SIGUSR1, &act, NULL));
    memset(memory, 0x5a, BELOW);
    PT(pthread_kill(pthread_self(), SIGUSR1));
    for (int i = 0; i < BELOW; i++)
        CHECK_EQ("below the stack", 0x5a, memory[i]);
}
static void *thread(void *none)
{
    enter();
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
    size_t frame = getauxval(AT_MINSIGSTKSZ);
    left = frame + OWN - 256;
    size = guest_is(argv, "large") ? LARGE : frame + left + 2048;
    char words[64];
    sprintf(words, "alternate stack of %zu bytes", size);
    if (size != LARGE)
        guest_refused(words);
    if (guest_is(argv, "of_thread")) {
        pthread_t other = guest_thread(thread, NULL);
        harness(NULL);
        guest_join(other);
    } else {
        pthread_t other = guest_thread(harness, NULL);
        enter();
        guest_join(other);
    }
    return 0;
}
