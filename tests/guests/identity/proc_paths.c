// /proc/self and /proc/PID name the program, its threads and its child by the ids it knows.
#include "../guest.h"
static volatile pid_t tid;
static void child(void) { guest_await("asked"); }
static void *thread(void *x)
{
    (void)x;
    tid = gettid();
    guest_await("asked");
    return NULL;
}
static long status_of(const char *path, const char *key)
{
    char buf[8192];
    if (guest_read_text(path, buf, sizeof buf) <= 0)
        guest_fail("%s: %s", path, strerror(errno));
    char *p = strstr(buf, key);
    return p ? strtol(p + strlen(key), NULL, 10) : -1;
}
int main(void)
{
    char path[64], link[64];
    pid_t kid = guest_fork(child);
    pthread_t t = guest_thread(thread, NULL);
    AWAIT(tid);
    guest_ready();
    sprintf(path, "/proc/%d/status", getpid());
    CHECK_EQ("Pid", getpid(), status_of(path, "\nPid:"));
    CHECK_EQ("Threads", 2, status_of(path, "\nThreads:"));
    CHECK_EQ("Pid", getpid(), status_of("/proc/self/status", "\nPid:"));
    sprintf(path, "/proc/%d/status", kid);
    CHECK_EQ("Pid of the child", kid, status_of(path, "\nPid:"));
    CHECK_EQ("PPid of the child", getpid(), status_of(path, "\nPPid:"));
    sprintf(path, "/proc/self/task/%d/status", tid);
    CHECK_EQ("Pid of the thread", tid, status_of(path, "\nPid:"));
    link[SYS(readlink("/proc/self", link, sizeof link - 1))] = 0;
    CHECK_EQ("/proc/self", getpid(), atoi(link));
    sprintf(path, "/proc/%d", kid);
    SYS(access(path, F_OK));
    AWAIT(guest_state(kid) == 'S');
    int tasks = 0, seen = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; (e = readdir(d));)
        if (isdigit(e->d_name[0]))
            tasks++, seen += atoi(e->d_name) == tid || atoi(e->d_name) == getpid();
    closedir(d);
    CHECK_EQ("tasks", 2, tasks);
    CHECK_EQ("tasks by name", 2, seen);
    guest_note("asked");
    guest_join(t);
    guest_reap(kid, 0);
    return 0;
}
