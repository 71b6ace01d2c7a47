// A POSIX message queue with messages of several priorities, attributes and a notification.
#include "../guest.h"
static volatile int told;
static void handler(int s)
{
    (void)s;
    told = 1;
}
int main(void)
{
    struct mq_attr a = {.mq_maxmsg = 5, .mq_msgsize = 32}, got;
    char buf[32];
    unsigned prio;
    mqd_t q = mq_open(OBJECT("q"), O_CREAT | O_RDWR | O_NONBLOCK, 0600, &a),
          n = mq_open(OBJECT("n"), O_CREAT | O_RDWR, 0600, &a);
    if (q < 0 || n < 0)
        SKIP("no POSIX message queues: %s", strerror(errno));
    SYS(mq_send(q, "low", 4, 1));
    SYS(mq_send(q, "high", 5, 9));
    SYS(mq_send(q, "low2", 5, 1));
    SYS(mq_unlink(OBJECT("n")));
    signal(SIGUSR1, handler);
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    SYS(mq_notify(n, &ev));
    int flags = SYS(fcntl(q, F_GETFL));
    guest_ready();
    CHECK_EQ("F_GETFL", flags, SYS(fcntl(q, F_GETFL)));
    SYS(mq_getattr(q, &got));
    CHECK_EQ("maxmsg", 5, got.mq_maxmsg);
    CHECK_EQ("messages", 3, got.mq_curmsgs);
    CHECK_EQ("non-blocking", O_NONBLOCK, got.mq_flags);
    CHECK_EQ("receive", 5, SYS(mq_receive(q, buf, sizeof buf, &prio)));
    CHECK_STR("first", "high", buf);
    CHECK_EQ("priority", 9, prio);
    CHECK_EQ("receive", 4, SYS(mq_receive(q, buf, sizeof buf, &prio)));
    CHECK_STR("second", "low", buf);
    CHECK_EQ("receive", 5, SYS(mq_receive(q, buf, sizeof buf, &prio)));
    CHECK_EQ("empty", -1, mq_receive(q, buf, sizeof buf, &prio));
    SYS(mq_send(n, "x", 1, 0));
    AWAIT(told);
    SYS(mq_unlink(OBJECT("q")));
    return 0;
}
