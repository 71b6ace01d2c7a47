// oom_score_adj, coredump_filter and the timer slack of a thread.
#include "../guest.h"
static volatile int ready;
static void *thread(void *x)
{
    SYS(prctl(PR_SET_TIMERSLACK, 777777));
    ready = 1;
    guest_await_go();
    CHECK_EQ("timer slack of the thread", 777777, prctl(PR_GET_TIMERSLACK));
    return x;
}
static void put(const char *path, const char *text)
{
    int fd = SYS(open(path, O_WRONLY));
    CHECK_EQ(path, strlen(text), write(fd, text, strlen(text)));
    close(fd);
}
int main(void)
{
    char buf[32];
    put("/proc/self/oom_score_adj", "555");
    put("/proc/self/coredump_filter", "0x11");
    pthread_t t = guest_thread(thread, NULL);
    AWAIT(ready);
    guest_ready();
    CHECK(guest_read_text("/proc/self/oom_score_adj", buf, sizeof buf) > 0);
    CHECK_EQ("oom_score_adj", 555, atoi(buf));
    CHECK(guest_read_text("/proc/self/coredump_filter", buf, sizeof buf) > 0);
    CHECK_EQ("coredump_filter", 0x11, strtol(buf, NULL, 16));
    CHECK_EQ("timer slack of main", 50000, prctl(PR_GET_TIMERSLACK));
    guest_join(t);
    return 0;
}
