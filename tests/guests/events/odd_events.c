// Event descriptors in odd states: exclusive entries of several processes, nested and edge triggered, a timer that a clock change cancels, an ended child's pidfd, non-blocking ones, a blocked writer, poll of everything that is over.
// args: exclusive nested_edge cancel_on_set pidfd_ended pidfd_waitid pidfd_nonblock eventfd_writer signalfd_changed signalfd_shared epoll_full epoll_moved timerfd_shared epoll_et_partial epoll_of_pipe_end inotify_shared eventfd_passed epoll_pollfree epoll_params
#include "../guest.h"
#include <sys/pidfd.h>
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
static int ep, pfd[2];
static void waiter(void)
{
    struct epoll_event e;
    int n;
    AWAIT((n = SYS(epoll_wait(ep, &e, 1, -1))) > 0);
    char b;
    if (read(pfd[0], &b, 1) != 1)
        _exit(1);
}
static int ready(int set, struct epoll_event *e) { return SYS(epoll_wait(set, e, 8, 0)); }
static volatile pid_t tid;
static void *adder(void *arg)
{
    uint64_t v = 10;
    tid = gettid();
    SYS(write(*(int *)arg, &v, 8));
    return NULL;
}
int main(int argc, char **argv)
{
    (void)argc;
    uint64_t v = 1;
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 7}, got[8];
    char b;
    if (guest_is(argv, "exclusive")) {
        SYS(pipe(pfd));
        pid_t kid[3];
        for (int i = 0; i < 3; i++) {
            kid[i] = SYS(fork());
            if (kid[i] == 0) {
                ep = SYS(epoll_create1(0));
                e.events = EPOLLIN | EPOLLEXCLUSIVE;
                SYS(epoll_ctl(ep, EPOLL_CTL_ADD, pfd[0], &e));
                waiter();
                _exit(0);
            }
        }
        for (int i = 0; i < 3; i++)
            guest_await_in(kid[i], SYS_epoll_wait);
        guest_ready();
        for (int i = 0; i < 3; i++)
            SYS(write(pfd[1], "x", 1));
        for (int i = 0; i < 3; i++)
            guest_reap(kid[i], 0);
    } else if (guest_is(argv, "nested_edge")) {
        // Outer watches inner edge triggered; the edge was seen, a new one comes.
        int inner = SYS(epoll_create1(0)), outer = SYS(epoll_create1(0)), f = SYS(eventfd(1, EFD_NONBLOCK));
        SYS(epoll_ctl(inner, EPOLL_CTL_ADD, f, &e));
        e.events = EPOLLIN | EPOLLET;
        SYS(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e));
        CHECK_EQ("first edge", 1, ready(outer, got));
        CHECK_EQ("seen", 0, ready(outer, got));
        guest_ready();
        SYS(write(f, &v, 8));
        CHECK_EQ("second edge", 1, ready(outer, got));
        CHECK_EQ("data", 7, got[0].data.u64);
        CHECK_EQ("inner", 1, ready(inner, got));
        CHECK_EQ("value", 8, read(f, &v, 8));
        CHECK_EQ("count", 2, v);
    } else if (guest_is(argv, "cancel_on_set")) {
        int t = SYS(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        struct itimerspec i = {{0, 0}, {now.tv_sec + 3000, 0}};
        SYS(timerfd_settime(t, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &i, NULL));
        guest_ready();
        CHECK_EQ("not cancelled", -1, read(t, &v, 8));
        CHECK_EQ("error", EAGAIN, errno);
        char path[64], text[512];
        sprintf(path, "/proc/self/fdinfo/%d", t);
        guest_read_text(path, text, sizeof text);
        CHECK(strstr(text, "settime flags: 03"));
    } else if (guest_is(argv, "pidfd_ended") || guest_is(argv, "pidfd_waitid")) {
        pid_t kid = SYS(fork());
        if (kid == 0)
            _exit(5);
        int p = SYS(syscall(SYS_pidfd_open, kid, 0));
        AWAIT(guest_state(kid) == 'Z');
        ep = SYS(epoll_create1(0));
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, p, &e));
        guest_ready();
        CHECK_EQ("ended", 1, ready(ep, got));
        if (guest_is(argv, "pidfd_ended")) {
            guest_reap(kid, 5);
            CHECK_EQ("gone", -1, syscall(SYS_pidfd_send_signal, p, 0, NULL, 0));
            CHECK_EQ("error", ESRCH, errno);
        } else {
            siginfo_t i;
            SYS(waitid(P_PIDFD, p, &i, WEXITED));
            CHECK_EQ("status", 5, i.si_status);
            CHECK_EQ("who", kid, i.si_pid);
        }
    } else if (guest_is(argv, "pidfd_nonblock")) {
        pid_t kid = SYS(fork());
        if (kid == 0) {
            guest_await_go();
            guest_await("end");
            _exit(3);
        }
        int p = syscall(SYS_pidfd_open, kid, O_NONBLOCK);
        if (p < 0)
            SKIP("no PIDFD_NONBLOCK");
        guest_ready();
        siginfo_t i;
        CHECK_EQ("not yet", -1, waitid(P_PIDFD, p, &i, WEXITED));
        CHECK_EQ("error", EAGAIN, errno);
        guest_note("end");
        struct pollfd f = {p, POLLIN, 0};
        CHECK_EQ("ended", 1, poll(&f, 1, 10000));
        SYS(waitid(P_PIDFD, p, &i, WEXITED));
        CHECK_EQ("status", 3, i.si_status);
    } else if (guest_is(argv, "eventfd_writer")) {
        int f = SYS(eventfd(0, 0));
        v = UINT64_MAX - 5;
        SYS(write(f, &v, 8));
        pthread_t t = guest_thread(adder, &f);
        AWAIT(tid);
        guest_await_in(tid, SYS_write);
        guest_ready();
        SYS(read(f, &v, 8));
        CHECK(v == UINT64_MAX - 5);
        guest_join(t);
        SYS(read(f, &v, 8));
        CHECK_EQ("then", 10, v);
    } else if (guest_is(argv, "signalfd_changed") || guest_is(argv, "signalfd_shared")) {
        sigset_t m;
        sigemptyset(&m), sigaddset(&m, SIGUSR1), sigaddset(&m, SIGUSR2);
        SYS(sigprocmask(SIG_BLOCK, &m, NULL));
        int s = SYS(signalfd(-1, &m, SFD_NONBLOCK));
        sigdelset(&m, SIGUSR1);
        SYS(signalfd(s, &m, 0));
        pid_t kid = 0;
        if (guest_is(argv, "signalfd_shared") && (kid = SYS(fork())) == 0) {
            struct signalfd_siginfo i;
            guest_await_go();
            raise(SIGUSR2);
            _exit(read(s, &i, sizeof i) != sizeof i || (int)i.ssi_pid != getpid());
        }
        raise(SIGUSR1);
        guest_ready();
        struct signalfd_siginfo i;
        CHECK_EQ("not this one", -1, read(s, &i, sizeof i));
        raise(SIGUSR2);
        CHECK_EQ("this one", (long)sizeof i, read(s, &i, sizeof i));
        CHECK_EQ("signal", SIGUSR2, i.ssi_signo);
        if (kid)
            guest_reap(kid, 0);
    } else if (guest_is(argv, "epoll_full")) {
        // More ready entries than are asked for: each gets its turn.
        ep = SYS(epoll_create1(0));
        for (int i = 0; i < 20; i++) {
            e.data.u64 = i;
            SYS(epoll_ctl(ep, EPOLL_CTL_ADD, SYS(eventfd(1, EFD_NONBLOCK)), &e));
        }
        CHECK_EQ("some", 8, ready(ep, got));
        guest_ready();
        unsigned seen = 0;
        for (int i = 0; i < 12; i++)
            for (int n = ready(ep, got), k = 0; k < n; k++)
                seen |= 1u << got[k].data.u64;
        CHECK_EQ("all", (1u << 20) - 1, seen);
    } else if (guest_is(argv, "epoll_moved")) {
        // Watched under a number that is closed since; a dup keeps the file, a new one has the number.
        ep = SYS(epoll_create1(0));
        int f = SYS(eventfd(1, EFD_NONBLOCK)), d = SYS(dup(f)), w = SYS(eventfd(0, EFD_NONBLOCK));
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, f, &e));
        SYS(dup2(w, f));
        e.data.u64 = 8;
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, f, &e));
        guest_ready();
        CHECK_EQ("ready", 1, ready(ep, got));
        CHECK_EQ("the first", 7, got[0].data.u64);
        SYS(read(d, &v, 8));
        CHECK_EQ("none", 0, ready(ep, got));
        SYS(write(w, &v, 8));
        CHECK_EQ("ready", 1, ready(ep, got));
        CHECK_EQ("the second", 8, got[0].data.u64);
        SYS(epoll_ctl(ep, EPOLL_CTL_DEL, f, NULL));
        CHECK_EQ("none", 0, ready(ep, got));
    } else if (guest_is(argv, "timerfd_shared")) {
        int t = SYS(timerfd_create(CLOCK_MONOTONIC, 0));
        pid_t kid = SYS(fork());
        if (kid == 0)
            _exit(SYS(read(t, &v, 8)) != 8 || v < 1);
        guest_await_in(kid, SYS_read);
        guest_ready();
        struct itimerspec i = {{0, 0}, {0, 1000000}};
        SYS(timerfd_settime(t, 0, &i, NULL));
        guest_reap(kid, 0);
    } else if (guest_is(argv, "epoll_et_partial")) {
        // Edge triggered, half read: silent until more comes. A rebuilt set may say it once more.
        int p[2];
        SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
        ep = SYS(epoll_create1(0));
        e.events = EPOLLIN | EPOLLET;
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
        SYS(write(p[1], "ab", 2));
        CHECK_EQ("edge", 1, ready(ep, got));
        SYS(read(p[0], &b, 1));
        guest_ready();
        CHECK_EQ("silent", 0, ready(ep, got));
        SYS(write(p[1], "c", 1));
        CHECK_EQ("edge", 1, ready(ep, got));
    } else if (guest_is(argv, "epoll_of_pipe_end")) {
        // Hang-ups that were there before.
        int p[2], q[2], u[2];
        SYS(pipe(p)), SYS(pipe(q)), SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
        ep = SYS(epoll_create1(0));
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
        e.events = EPOLLOUT, e.data.u64 = 8;
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, q[1], &e));
        e.events = EPOLLRDHUP, e.data.u64 = 9;
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, u[0], &e));
        close(p[1]), close(q[0]), SYS(shutdown(u[1], SHUT_WR));
        guest_ready();
        CHECK_EQ("all three", 3, ready(ep, got));
        for (int i = 0; i < 3; i++)
            CHECK_EQ("events", got[i].data.u64 == 7 ? EPOLLHUP : got[i].data.u64 == 8 ? EPOLLOUT | EPOLLERR : EPOLLRDHUP, got[i].events);
    } else if (guest_is(argv, "inotify_shared")) {
        int i = SYS(inotify_init1(0));
        SYS(mkdir(PATH_OF("d"), 0700));
        SYS(inotify_add_watch(i, PATH_OF("d"), IN_CREATE));
        pid_t kid = SYS(fork());
        if (kid == 0) {
            char buf[300] __attribute__((aligned(8)));
            SYS(read(i, buf, sizeof buf));
            _exit(strcmp(((struct inotify_event *)buf)->name, "new"));
        }
        guest_await_in(kid, SYS_read);
        guest_ready();
        guest_note("d/new");
        guest_reap(kid, 0);
    } else if (guest_is(argv, "eventfd_passed")) {
        // In flight only, and watched meanwhile.
        int p[2], f = SYS(eventfd(3, EFD_SEMAPHORE)), t = SYS(timerfd_create(CLOCK_BOOTTIME, 0)), in = SYS(inotify_init1(0)), n[3] = {f, t, in};
        SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
        char control[CMSG_SPACE(sizeof n)] = {0};
        struct iovec io = {"x", 1};
        struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof n);
        memcpy(CMSG_DATA(c), n, sizeof n);
        SYS(sendmsg(p[0], &m, 0));
        ep = SYS(epoll_create1(0));
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, f, &e));
        close(f), close(t), close(in);
        guest_ready();
        CHECK_EQ("ready", 1, ready(ep, got));
        io.iov_base = &b;
        m.msg_controllen = sizeof control;
        CHECK_EQ("message", 1, SYS(recvmsg(p[1], &m, 0)));
        memcpy(n, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof n);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ("read", 8, SYS(read(n[0], &v, 8)));
            CHECK_EQ("semaphore", 1, v);
        }
        CHECK_EQ("empty", 0, ready(ep, got));
        CHECK_EQ("watch", 1, SYS(inotify_add_watch(n[2], guest_dir, IN_CREATE)));
    } else if (guest_is(argv, "epoll_pollfree")) {
        // Everything in it is closed: the set is empty.
        ep = SYS(epoll_create1(0));
        int f = SYS(eventfd(1, 0));
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, f, &e));
        close(f);
        guest_ready();
        CHECK_EQ("empty", 0, ready(ep, got));
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, SYS(eventfd(1, 0)), &e));
        CHECK_EQ("one", 1, ready(ep, got));
    } else {
        struct { uint32_t usecs; uint16_t budget; uint8_t prefer, pad; } p = {50, 16, 0, 0}, now = {0};
        ep = SYS(epoll_create1(0));
        if (ioctl(ep, _IOW(0x8A, 0x01, p), &p))
            SKIP("no EPIOCSPARAMS");
        guest_ready();
        SYS(ioctl(ep, _IOR(0x8A, 0x02, now), &now));
        CHECK_EQ("busy poll", 50, now.usecs); CHECK_EQ("budget", 16, now.budget);
    }
    return 0;
}
