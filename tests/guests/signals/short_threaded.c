// Calls of libc that begin and end all the time in threads, where it loads their numbers early: the signal finds them where
// nobody has looked.
#include "short.h"
enum { KINDS = 5, EACH = 2 };
static int ep, nothing[2], udp, queue;
static mqd_t mq;
static const struct timespec moment = {0, 400000};
static long call(int kind, sigset_t *usr2)
{
    struct timespec t = moment;
    struct epoll_event e;
    char text[64];
    fd_set set;
    switch (kind) {
    case 0:
        FD_ZERO(&set);
        FD_SET(nothing[0], &set);
        return pselect(nothing[0] + 1, &set, NULL, NULL, &t, usr2);
    case 1: return epoll_pwait(ep, &e, 1, 1, usr2);
    case 2: return epoll_pwait2(ep, &e, 1, &t, usr2);
    case 3: return recvfrom(udp, text, sizeof text, 0, NULL, NULL) < 0 && errno == EAGAIN ? 0 : -1;
    default:
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += moment.tv_nsec;
        if (t.tv_nsec >= 1000000000)
            t.tv_nsec -= 1000000000, t.tv_sec++;
        return mq_timedreceive(mq, text, sizeof text, NULL, &t) < 0 && errno == ETIMEDOUT ? 0 : -1;
    }
}
// These two wait for one another.
static void *receiver(void *x)
{
    struct { long type; int n; } m;
    for (int i = 0;; i++) {
        CHECK_EQ("message", 4, SYS(msgrcv(queue, &m, 4, 1, 0)));
        CHECK_EQ("number", i, m.n);
        m.type = 2;
        SYS(msgsnd(queue, &m, 4, 0));
        if (guest_going())
            return x;
    }
}
static void *sender(void *x)
{
    struct { long type; int n; } m;
    for (int i = 0;; i++) {
        nanosleep(&moment, NULL);
        m.type = 1, m.n = i;
        if (msgsnd(queue, &m, 4, 0) || msgrcv(queue, &m, 4, 2, 0) != 4) {
            if (errno != EIDRM && errno != EINVAL)
                guest_fail("queue: %s", strerror(errno));
            return x;
        }
    }
}
int main(void)
{
    pthread_t t[KINDS * EACH], ends[2];
    struct mq_attr small = {.mq_maxmsg = 1, .mq_msgsize = 64};
    struct timeval tv = {0, 400};
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    PT(pthread_sigmask(SIG_BLOCK, &usr2, NULL));
    SYS(pipe(nothing));
    ep = SYS(epoll_create1(0));
    udp = SYS(socket(AF_INET, SOCK_DGRAM, 0));
    SYS(setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    mq = SYS(mq_open(OBJECT("short"), O_RDWR | O_CREAT, 0600, &small));
    SYS(mq_unlink(OBJECT("short")));
    queue = SYS(msgget(IPC_PRIVATE, 0600));
    for (long i = 0; i < KINDS * EACH; i++)
        t[i] = guest_thread(caller, (void *)(i % KINDS));
    ends[0] = guest_thread(receiver, NULL), ends[1] = guest_thread(sender, NULL);
    guest_ready();
    for (int i = 0; i < KINDS * EACH; i++)
        guest_join(t[i]);
    guest_join(ends[0]);
    SYS(msgctl(queue, IPC_RMID, NULL));
    guest_join(ends[1]);
    return 0;
}
