// The main thread has left with pthread_exit; another goes on and ends the process.
#include "../guest.h"
static pid_t main_tid;
static void *rest(void *x)
{
    (void)x;
    pid_t pid = getpid(), tid = gettid();
    AWAIT(guest_state(main_tid) == 'Z');
    guest_ready();
    CHECK_EQ("getpid", pid, getpid());
    CHECK_EQ("gettid", tid, gettid());
    SYS(kill(pid, 0));
    CHECK_EQ("state of the main thread", 'Z', guest_state(main_tid));
    exit(0);
}
int main(void)
{
    main_tid = gettid();
    guest_thread(rest, NULL);
    pthread_exit(NULL);
}
