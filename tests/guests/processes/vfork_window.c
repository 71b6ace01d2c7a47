// The parent of a vfork is suspended until its child has gone on to another program.
#include "../guest.h"
static volatile int in_window, left;
static void *parent(void *x)
{
    (void)x;
    pid_t pid = vfork();
    if (pid == 0) {
        in_window = 1;
        struct timespec t = {0, 300000000};
        nanosleep(&t, NULL);
        execl("/bin/sh", "sh", "-c", "exit 8", NULL);
        _exit(99);
    }
    left = 1;
    guest_reap(SYS(pid), 8);
    return NULL;
}
int main(void)
{
    pthread_t t = guest_thread(parent, NULL);
    AWAIT(in_window);
    guest_ready();
    guest_join(t);
    CHECK_EQ("left", 1, left);
    return 0;
}
