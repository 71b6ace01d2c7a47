// A child's signals arrive around each checkpoint at a pausing parent: each of them wakes it once.
#include "../guest.h"
static volatile int handled;
static pid_t parent;
static void handler(int s)
{
    (void)s;
    handled++;
}
static void child(void)
{
    while (!guest_going()) {
        char name[32];
        static int round;
        SYS(kill(parent, SIGUSR1));
        sprintf(name, "woken.%d", round++);
        guest_await(name);
    }
    guest_note("enough");
    SYS(kill(parent, SIGUSR1));
}
static void *answer(void *x)
{
    sigset_t usr1;
    (void)x;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    PT(pthread_sigmask(SIG_BLOCK, &usr1, NULL));
    guest_ready();
    return NULL;
}
int main(void)
{
    struct sigaction sa = {.sa_handler = handler};
    sigset_t usr1, old;
    char name[32];
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    SYS(sigprocmask(SIG_BLOCK, &usr1, &old));
    SYS(sigaction(SIGUSR1, &sa, NULL));
    parent = getpid();
    pid_t pid = guest_fork(child);
    pthread_t t = guest_thread(answer, NULL);
    for (int round = 0; !guest_noted("enough"); round++) {
        CHECK(sigsuspend(&old) == -1);
        CHECK_EQ("handled", round + 1, handled);
        sprintf(name, "woken.%d", round);
        guest_note(name);
    }
    guest_join(t);
    guest_reap(pid, 0);
    return 0;
}
