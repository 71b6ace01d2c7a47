// A stopped process of several threads with a signal pending behind the stop, in a group of its own.
#include "../guest.h"
static volatile int ready, hit, woken;
static void on_usr1(int s) { (void)s, hit++; }
static void *run(void *x)
{
    (void)x;
    __sync_fetch_and_add(&ready, 1);
    AWAIT(hit);
    __sync_fetch_and_add(&woken, 1);
    return NULL;
}
static void child(void)
{
    pthread_t t[4];
    signal(SIGUSR1, on_usr1);
    for (int i = 0; i < 4; i++)
        t[i] = guest_thread(run, NULL);
    AWAIT(ready == 4);
    guest_note("child");
    for (int i = 0; i < 4; i++)
        guest_join(t[i]);
    CHECK_EQ("woken", 4, woken);
    CHECK_EQ("hits", 1, hit);
    CHECK_EQ("group", getpid(), getpgrp());
    _exit(4);
}
int main(void)
{
    int st;
    pid_t kid = SYS(fork());
    if (kid == 0) {
        SYS(setpgid(0, 0));
        child();
    }
    guest_await("child");
    SYS(kill(-kid, SIGSTOP));
    CHECK_EQ("waitpid", kid, SYS(waitpid(kid, &st, WUNTRACED)));
    SYS(kill(kid, SIGUSR1));
    guest_ready();
    CHECK_EQ("state", 'T', guest_state(kid));
    CHECK_EQ("nothing", 0, SYS(waitpid(kid, &st, WNOHANG)));
    SYS(kill(-kid, SIGCONT));
    guest_reap(kid, 4);
    return 0;
}
