// SIGCHLD ignored, or SA_NOCLDWAIT: children that end after leave no zombie and wait says ECHILD.
// args: ignore nocldwait
#include "../guest.h"
static void none(int s) { (void)s; }
int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = guest_is(argv, "ignore") ? SIG_IGN : none, .sa_flags = guest_is(argv, "ignore") ? 0 : SA_NOCLDWAIT};
    (void)argc;
    SYS(sigaction(SIGCHLD, &sa, NULL));
    pid_t kid[5];
    for (int i = 0; i < 5; i++)
        kid[i] = guest_fork(guest_await_go);
    guest_ready();
    int got;
    do
        got = wait(NULL);
    while (got < 0 && errno == EINTR);
    if (got >= 0 || errno != ECHILD)
        guest_fail("wait, expected ECHILD, got %d (%s)", got, strerror(errno));
    // Its id goes a moment after its parent has none to wait for.
    for (int i = 0; i < 5; i++)
        AWAIT(kill(kid[i], 0) < 0 && errno == ESRCH);
    return 0;
}
