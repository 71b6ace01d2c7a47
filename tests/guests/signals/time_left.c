// A wait with a timeout that a checkpoint comes into ends when its time is over, not that much later.
// args: poll select ppoll epoll_wait epoll_pwait2 sigtimedwait futex semtimedop io_getevents nanosleep
#include "../guest.h"
#include <linux/aio_abi.h>
enum { SECONDS = 3 };
static const char *a;
#define IS(x) (!strcmp(a, x))
static volatile int began;
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
static void wait_for_it(void)
{
    struct timespec whole = {SECONDS, 0};
    struct timeval tv = {SECONDS, 0};
    struct epoll_event e;
    struct io_event done;
    struct sembuf down = {0, -1, 0};
    aio_context_t aio = 0;
    int word = 0, ep = SYS(epoll_create1(0)), sem = SYS(semget(IPC_PRIVATE, 1, 0600));
    sigset_t usr2;
    sigemptyset(&usr2), sigaddset(&usr2, SIGUSR2);
    SYS(syscall(SYS_io_setup, 4, &aio));
    double start = now();
    began = 1;
    if (IS("poll"))
        CHECK_EQ(a, 0, poll(NULL, 0, SECONDS * 1000));
    else if (IS("select"))
        CHECK_EQ(a, 0, select(0, NULL, NULL, NULL, &tv));
    else if (IS("ppoll"))
        CHECK_EQ(a, 0, ppoll(NULL, 0, &whole, NULL));
    else if (IS("epoll_wait"))
        CHECK_EQ(a, 0, epoll_wait(ep, &e, 1, SECONDS * 1000));
    else if (IS("epoll_pwait2"))
        CHECK_EQ(a, 0, syscall(SYS_epoll_pwait2, ep, &e, 1, &whole, NULL, 8));
    else if (IS("sigtimedwait"))
        CHECK(sigtimedwait(&usr2, NULL, &whole) == -1 && errno == EAGAIN);
    else if (IS("futex"))
        CHECK(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &whole, NULL, 0) == -1 && errno == ETIMEDOUT);
    else if (IS("semtimedop"))
        CHECK(semtimedop(sem, &down, 1, &whole) == -1 && errno == EAGAIN);
    else if (IS("io_getevents"))
        CHECK_EQ(a, 0, syscall(SYS_io_getevents, aio, 1, 1, &done, &whole));
    else
        CHECK_EQ(a, 0, nanosleep(&whole, NULL));
    double took = now() - start;
    SYS(semctl(sem, 0, IPC_RMID));
    if (took < SECONDS - 0.01 || took > SECONDS + 1.2)
        guest_fail("%s took %.3f s instead of %d", a, took, SECONDS);
}
static void *waits(void *x)
{
    wait_for_it();
    return x;
}
int main(int argc, char **argv)
{
    (void)argc;
    a = argv[1];
    pthread_t t = guest_thread(waits, NULL);
    AWAIT(began);
    usleep(1700000);
    guest_ready();
    guest_join(t);
    return 0;
}
