// Every getter of an id says the same in main, thread and child.
#include "../guest.h"
struct ids { pid_t pid, tid, ppid, pgrp, sid, pgid0, raw_pid; uid_t uid; gid_t gid; };
static struct ids ids(void)
{
    struct ids i;
    memset(&i, 0, sizeof i);
    i.pid = getpid(), i.tid = gettid(), i.ppid = getppid(), i.pgrp = getpgrp(), i.sid = getsid(0);
    i.pgid0 = getpgid(0), i.uid = getuid(), i.gid = getgid(), i.raw_pid = syscall(SYS_getpid);
    return i;
}
static volatile int ready;
static void same(const char *who, struct ids a, struct ids b, int with_parent)
{
    if (!with_parent)
        a.ppid = b.ppid = 0;
    if (memcmp(&a, &b, sizeof a))
        guest_fail("ids of %s, expected pid %d tid %d ppid %d pgrp %d sid %d raw %d, got %d %d %d %d %d %d", who, a.pid,
                   a.tid, a.ppid, a.pgrp, a.sid, a.raw_pid, b.pid, b.tid, b.ppid, b.pgrp, b.sid, b.raw_pid);
}
static void *thread(void *x)
{
    (void)x;
    struct ids before = ids();
    ready = 1;
    guest_await_go();
    same("thread", before, ids(), 0);
    return NULL;
}
static void child(void)
{
    struct ids before = ids();
    guest_note("child");
    guest_await_go();
    same("child", before, ids(), 1);
}
int main(void)
{
    pid_t pid = guest_fork(child);
    pthread_t t = guest_thread(thread, NULL);
    struct ids before = ids();
    AWAIT(ready);
    guest_await("child");
    guest_ready();
    same("main", before, ids(), 0);
    guest_join(t);
    guest_reap(pid, 0);
    return 0;
}
