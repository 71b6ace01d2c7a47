// pidfds of threads (PIDFD_THREAD): of a live one, of the main one, of one that has ended; the live one's end is seen.
#include "../guest.h"
#define OF_THREAD O_EXCL
static pid_t tid;
static void *sleeper(void *none)
{
    __atomic_store_n(&tid, gettid(), __ATOMIC_SEQ_CST);
    guest_await_go();
    guest_await("end");
    return none;
}
static void *ended(void *none)
{
    __atomic_store_n(&tid, gettid(), __ATOMIC_SEQ_CST);
    guest_await("first");
    return none;
}
static int open_of(pid_t t, int flags)
{
    int fd = syscall(SYS_pidfd_open, t, OF_THREAD | flags);
    if (fd < 0 && errno == EINVAL)
        SKIP("this kernel has none of threads");
    return SYS(fd);
}
static int is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return SYS(poll(&p, 1, 0)) == 1;
}
int main(void)
{
    pthread_t one = guest_thread(ended, NULL);
    AWAIT(__atomic_load_n(&tid, __ATOMIC_SEQ_CST));
    int of_ended = open_of(tid, 0);
    guest_note("first");
    guest_join(one);
    AWAIT(is_readable(of_ended));
    tid = 0;
    pthread_t two = guest_thread(sleeper, NULL);
    AWAIT(__atomic_load_n(&tid, __ATOMIC_SEQ_CST));
    int of_live = open_of(tid, O_NONBLOCK), of_main = open_of(getpid(), 0);
    int flags = SYS(fcntl(of_live, F_GETFL)), kept = SYS(fcntl(of_live, F_GETFD));
    SYS(fcntl(of_main, F_SETFD, 0));
    guest_ready();
    CHECK(is_readable(of_ended) && !is_readable(of_live) && !is_readable(of_main));
    CHECK_EQ("flags", flags, SYS(fcntl(of_live, F_GETFL)));
    CHECK_EQ("descriptor flags", kept, SYS(fcntl(of_live, F_GETFD)));
    CHECK_EQ("descriptor flags", 0, SYS(fcntl(of_main, F_GETFD)));
    SYS(syscall(SYS_pidfd_send_signal, of_live, 0, NULL, 0));
    guest_note("end");
    guest_join(two);
    AWAIT(is_readable(of_live));
    CHECK(!is_readable(of_main));
    return 0;
}
