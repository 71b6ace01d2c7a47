// POSIX message queues: full and blocked, unlinked, notification with its value, by thread, notified to nobody, two openings.
// args: blocked unlinked value thread none readers
#include "../guest.h"
static volatile int told;
static void handler(int s, siginfo_t *i, void *u)
{
    (void)s, (void)u;
    told = i->si_value.sival_int;
}
static void in_thread(union sigval v) { told = v.sival_int; }
int main(int argc, char **argv)
{
    (void)argc;
    struct mq_attr a = {.mq_maxmsg = 3, .mq_msgsize = 16}, got;
    char buf[16];
    unsigned prio;
    mqd_t q = mq_open(OBJECT("s"), O_CREAT | O_RDWR | O_EXCL, 0600, &a);
    if (q < 0)
        SKIP("no POSIX message queues: %s", strerror(errno));
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR2, &sa, NULL);
    if (guest_is(argv, "blocked")) {
        for (int i = 0; i < 3; i++)
            SYS(mq_send(q, "m", 2, i));
        pid_t kid = SYS(fork());
        if (kid == 0) {
            SYS(mq_send(q, "late", 5, 9));
            _exit(0);
        }
        guest_await_in(kid, SYS_mq_timedsend);
        guest_ready();
        // Who goes on first after a checkpoint is nobody's business.
        guest_await_in(kid, SYS_mq_timedsend);
        CHECK_EQ("receive", 2, SYS(mq_receive(q, buf, 16, &prio)));
        CHECK_EQ("priority", 2, prio);
        CHECK_EQ("the late one", 5, SYS(mq_receive(q, buf, 16, &prio)));
        guest_reap(kid, 0);
    } else if (guest_is(argv, "unlinked")) {
        SYS(mq_send(q, "kept", 5, 4));
        SYS(mq_unlink(OBJECT("s")));
        guest_ready();
        CHECK_EQ("no name", -1, mq_open(OBJECT("s"), O_RDWR));
        CHECK_EQ("receive", 5, SYS(mq_receive(q, buf, 16, &prio)));
        CHECK_STR("message", "kept", buf);
        return 0;
    } else if (guest_is(argv, "value")) {
        struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2, .sigev_value.sival_int = 4711};
        SYS(mq_notify(q, &ev));
        guest_ready();
        CHECK_EQ("taken", -1, mq_notify(q, &ev));
        SYS(mq_send(q, "x", 1, 0));
        AWAIT(told);
        CHECK_EQ("value", 4711, told);
    } else if (guest_is(argv, "thread")) {
        struct sigevent ev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = in_thread, .sigev_value.sival_int = 4712};
        SYS(mq_notify(q, &ev));
        guest_ready();
        SYS(mq_send(q, "x", 1, 0));
        AWAIT(told);
        CHECK_EQ("value", 4712, told);
    } else if (guest_is(argv, "none")) {
        struct sigevent ev = {.sigev_notify = SIGEV_NONE};
        SYS(mq_notify(q, &ev));
        guest_ready();
        CHECK_EQ("taken", -1, mq_notify(q, &ev));
        SYS(mq_notify(q, NULL));
        SYS(mq_notify(q, &ev));
    } else {
        mqd_t r = SYS(mq_open(OBJECT("s"), O_RDONLY | O_NONBLOCK));
        SYS(mq_send(q, "one", 4, 1));
        guest_ready();
        SYS(mq_getattr(r, &got));
        CHECK_EQ("flags", O_NONBLOCK, got.mq_flags);
        SYS(mq_getattr(q, &got));
        CHECK_EQ("flags", 0, got.mq_flags);
        CHECK_EQ("receive", 4, SYS(mq_receive(r, buf, 16, &prio)));
        CHECK_EQ("empty", -1, mq_receive(r, buf, 16, &prio));
        CHECK_EQ("read only", -1, mq_send(r, "x", 1, 0));
    }
    SYS(mq_unlink(OBJECT("s")));
    return 0;
}
