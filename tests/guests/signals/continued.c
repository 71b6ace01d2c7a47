// A call that a stop had come into before (Ctrl-Z, gdb, a freezer), which the kernel has gone on with by restart_syscall,
// does not see the checkpoint either.
// args: nanosleep clock_nanosleep sleep poll poll_event futex futex_event futex_until sem_timedwait sem_event cond_timedwait
#include "../guest.h"
static const char *a;
#define IS(x) (!strcmp(a, x))
static struct { volatile int tid, fired; int word; sem_t sem; } *shared;
static int p[2];
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
static void child(void)
{
    struct timespec two = {2, 0}, hour = {3600, 0}, mono, real;
    struct pollfd in = {p[0], POLLIN, 0};
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t c = PTHREAD_COND_INITIALIZER;
    clock_gettime(CLOCK_MONOTONIC, &mono), mono.tv_sec += 2;
    clock_gettime(CLOCK_REALTIME, &real), real.tv_sec += 2;
    double start = now();
    shared->tid = gettid();
    if (IS("nanosleep"))
        CHECK_EQ(a, 0, nanosleep(&two, NULL));
    else if (IS("clock_nanosleep"))
        CHECK_EQ(a, 0, clock_nanosleep(CLOCK_BOOTTIME, 0, &two, NULL));
    else if (IS("sleep"))
        CHECK_EQ(a, 0, sleep(2));
    else if (IS("poll"))
        CHECK_EQ(a, 0, poll(&in, 1, 2000));
    else if (IS("poll_event"))
        CHECK_EQ(a, 1, poll(&in, 1, 3600000));
    else if (IS("futex"))
        CHECK(syscall(SYS_futex, &shared->word, FUTEX_WAIT, 0, &two, NULL, 0) == -1 && errno == ETIMEDOUT);
    else if (IS("futex_event"))
        CHECK_EQ(a, 0, syscall(SYS_futex, &shared->word, FUTEX_WAIT, 0, &hour, NULL, 0));
    else if (IS("futex_until"))
        CHECK(syscall(SYS_futex, &shared->word, FUTEX_WAIT_BITSET, 0, &mono, NULL, -1) == -1 && errno == ETIMEDOUT);
    else if (IS("sem_timedwait"))
        CHECK(sem_timedwait(&shared->sem, &real) == -1 && errno == ETIMEDOUT);
    else if (IS("sem_event")) {
        real.tv_sec += 3600;
        CHECK_EQ(a, 0, sem_timedwait(&shared->sem, &real));
    } else {
        PT(pthread_mutex_lock(&m));
        CHECK_EQ(a, ETIMEDOUT, pthread_cond_timedwait(&c, &m, &real));
    }
    if (strstr(a, "_event"))
        CHECK_EQ("too early", 1, shared->fired);
    else
        CHECK(now() - start > 1.98);
}
int main(int argc, char **argv)
{
    int st;
    (void)argc;
    a = argv[1];
    SYS(pipe(p));
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    SYS(sem_init(&shared->sem, 1, 0));
    pid_t pid = guest_fork(child);
    AWAIT(shared->tid);
    usleep(100000);
    AWAIT(guest_state(pid) == 'S');
    SYS(kill(pid, SIGSTOP));
    CHECK_EQ("waitpid", pid, SYS(waitpid(pid, &st, WUNTRACED)));
    CHECK(WIFSTOPPED(st));
    SYS(kill(pid, SIGCONT));
    guest_await_in(pid, SYS_restart_syscall);
    guest_ready();
    shared->fired = 1;
    if (IS("poll_event"))
        CHECK_EQ("write", 1, write(p[1], "x", 1));
    if (IS("sem_event"))
        SYS(sem_post(&shared->sem));
    if (IS("futex_event"))
        AWAIT(syscall(SYS_futex, &shared->word, FUTEX_WAKE, 1, NULL, NULL, 0) == 1);
    guest_reap(pid, 0);
    return 0;
}
