// eventfd at its limit and as a semaphore, signalfd in epoll, timerfds of every clock and state, a pidfd in epoll, a shared epoll with many entries.
// args: eventfd signalfd timerfd_clocks timerfd_ticks pidfd epoll_many epoll_self_dup epoll_events
#include "../guest.h"
int main(int argc, char **argv)
{
    (void)argc;
    uint64_t v;
    struct epoll_event e, es[64];
    int ep = SYS(epoll_create1(0));
    if (guest_is(argv, "eventfd")) {
        int full = SYS(eventfd(0, EFD_NONBLOCK)), sem = SYS(eventfd(5, EFD_SEMAPHORE | EFD_NONBLOCK)), empty = SYS(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
        v = UINT64_MAX - 1;
        SYS(write(full, &v, 8));
        guest_ready();
        v = 1;
        CHECK_EQ("full", -1, write(full, &v, 8));
        CHECK_EQ("read", 8, read(full, &v, 8));
        CHECK(v == UINT64_MAX - 1);
        for (int i = 0; i < 5; i++) {
            CHECK_EQ("read", 8, read(sem, &v, 8));
            CHECK_EQ("one at a time", 1, v);
        }
        CHECK_EQ("empty", -1, read(sem, &v, 8));
        CHECK_EQ("empty", -1, read(empty, &v, 8));
        CHECK_EQ("cloexec", FD_CLOEXEC, fcntl(empty, F_GETFD));
    } else if (guest_is(argv, "signalfd")) {
        sigset_t m;
        sigemptyset(&m), sigaddset(&m, SIGUSR1), sigaddset(&m, SIGRTMIN + 3);
        SYS(sigprocmask(SIG_BLOCK, &m, NULL));
        int s = SYS(signalfd(-1, &m, SFD_NONBLOCK));
        SYS(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 4})), SYS(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 5}));
        SYS(raise(SIGUSR1));
        e = (struct epoll_event){.events = EPOLLIN, .data.u32 = 3};
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, s, &e));
        guest_ready();
        struct signalfd_siginfo i;
        CHECK_EQ("ready", 1, epoll_wait(ep, es, 9, 0));
        CHECK_EQ("read", sizeof i, read(s, &i, sizeof i));
        CHECK_EQ("signal", SIGUSR1, i.ssi_signo); CHECK_EQ("sender", getpid(), i.ssi_pid);
        CHECK_EQ("read", sizeof i, read(s, &i, sizeof i));
        CHECK_EQ("value", 4, i.ssi_int);
        CHECK_EQ("read", sizeof i, read(s, &i, sizeof i));
        CHECK_EQ("value", 5, i.ssi_int);
        CHECK_EQ("empty", -1, read(s, &i, sizeof i));
    } else if (guest_is(argv, "timerfd_clocks")) {
        int clocks[3] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME}, t[6];
        for (int i = 0; i < 3; i++) {
            struct timespec now;
            clock_gettime(clocks[i], &now);
            struct itimerspec abs = {{7, 0}, {now.tv_sec + 5000, 0}}, rel = {{3, 500}, {900, 0}};
            t[2 * i] = SYS(timerfd_create(clocks[i], TFD_NONBLOCK)), t[2 * i + 1] = SYS(timerfd_create(clocks[i], TFD_CLOEXEC));
            SYS(timerfd_settime(t[2 * i], TFD_TIMER_ABSTIME, &abs, NULL)), SYS(timerfd_settime(t[2 * i + 1], 0, &rel, NULL));
        }
        guest_ready();
        for (int i = 0; i < 3; i++) {
            struct itimerspec now;
            SYS(timerfd_gettime(t[2 * i], &now));
            CHECK_EQ("interval", 7, now.it_interval.tv_sec);
            CHECK(now.it_value.tv_sec > 4900 && now.it_value.tv_sec <= 5000);
            SYS(timerfd_gettime(t[2 * i + 1], &now));
            CHECK_EQ("interval", 3, now.it_interval.tv_sec); CHECK_EQ("interval", 500, now.it_interval.tv_nsec);
            CHECK(now.it_value.tv_sec > 800 && now.it_value.tv_sec <= 900);
            CHECK_EQ("not expired", -1, (fcntl(t[2 * i + 1], F_SETFL, O_NONBLOCK), read(t[2 * i + 1], &v, 8)));
        }
    } else if (guest_is(argv, "timerfd_ticks")) {
        int t = SYS(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)), once = SYS(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
        struct itimerspec many = {{0, 1000000}, {0, 1000000}}, one = {{0, 0}, {0, 1}};
        SYS(timerfd_settime(once, 0, &one, NULL));
        SYS(timerfd_settime(t, 0, &many, NULL));
        usleep(30000);
        guest_ready();
        CHECK_EQ("read", 8, read(t, &v, 8));
        CHECK(v >= 25);
        CHECK_EQ("expired once", 8, read(once, &v, 8));
        CHECK_EQ("once", 1, v);
        CHECK_EQ("not again", -1, read(once, &v, 8));
        AWAIT(read(t, &v, 8) == 8);
    } else if (guest_is(argv, "pidfd")) {
        pid_t kid = SYS(fork());
        if (kid == 0) {
            guest_await("end");
            _exit(3);
        }
        int p = SYS(syscall(SYS_pidfd_open, kid, 0));
        e = (struct epoll_event){.events = EPOLLIN, .data.u32 = 8};
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, p, &e));
        guest_ready();
        CHECK_EQ("alive", 0, epoll_wait(ep, es, 9, 0));
        SYS(syscall(SYS_pidfd_send_signal, p, 0, NULL, 0));
        guest_note("end");
        CHECK_EQ("ended", 1, epoll_wait(ep, es, 9, 5000));
        siginfo_t i;
        SYS(waitid(P_PIDFD, p, &i, WEXITED));
        CHECK_EQ("status", 3, i.si_status); CHECK_EQ("pid", kid, i.si_pid);
    } else if (guest_is(argv, "epoll_many")) {
        int p[600][2];
        for (int i = 0; i < 300; i++) {
            SYS(pipe(p[i]));
            e = (struct epoll_event){.events = EPOLLIN, .data.u64 = 1000 + i};
            SYS(epoll_ctl(ep, EPOLL_CTL_ADD, p[i][0], &e));
            if (i % 10 == 0)
                SYS(write(p[i][1], "x", 1));
        }
        guest_ready();
        int n = SYS(epoll_wait(ep, es, 64, 0));
        CHECK_EQ("ready", 30, n);
        for (int i = 0; i < n; i++)
            CHECK_EQ("data", 0, (es[i].data.u64 - 1000) % 10);
        for (int i = 0; i < 300; i++)
            SYS(epoll_ctl(ep, EPOLL_CTL_DEL, p[i][0], NULL));
    } else if (guest_is(argv, "epoll_self_dup")) {
        // One file under several numbers, the numbers then reused.
        int p[2], q[2], d;
        SYS(pipe(p)), SYS(pipe(q));
        d = SYS(dup(p[0]));
        e = (struct epoll_event){.events = EPOLLIN, .data.u32 = 1};
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, d, &e));
        SYS(dup2(q[0], d));
        e.data.u32 = 2;
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, d, &e));
        guest_ready();
        SYS(write(p[1], "x", 1));
        CHECK_EQ("the first", 1, epoll_wait(ep, es, 9, 0));
        CHECK_EQ("data", 1, es[0].data.u32);
        SYS(write(q[1], "x", 1));
        CHECK_EQ("both", 2, epoll_wait(ep, es, 9, 0));
    } else {
        int s[2];
        SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
        e = (struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET, .data.u64 = 0xfedcba9876543210};
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &e));
        e = (struct epoll_event){.events = EPOLLIN | EPOLLEXCLUSIVE, .data.u64 = 2};
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, s[1], &e));
        guest_ready();
        SYS(send(s[1], "x", 1, 0)), SYS(send(s[0], "x", 1, 0));
        int n = SYS(epoll_wait(ep, es, 9, 0));
        CHECK_EQ("ready", 2, n);
        for (int i = 0; i < n; i++)
            if (es[i].data.u64 != 2) {
                CHECK(es[i].data.u64 == 0xfedcba9876543210);
                CHECK_EQ("events", EPOLLIN | EPOLLOUT, es[i].events);
            }
        close(s[1]);
        n = SYS(epoll_wait(ep, es, 9, 0));
        CHECK(n >= 1 && es[0].events & EPOLLRDHUP);
    }
    return 0;
}
