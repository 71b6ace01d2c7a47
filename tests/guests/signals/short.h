// Threads that make one kind of call again and again: `call` makes one, and answers 0 when its time is over.
#include "../guest.h"
static long call(int kind, sigset_t *usr2);
static void *caller(void *kind)
{
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    while (!guest_going())
        for (int i = 0; i < 50; i++)
            if (call((int)(long)kind, &usr2))
                guest_fail("kind %ld: %s", (long)kind, strerror(errno));
    return NULL;
}
