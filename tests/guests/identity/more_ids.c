// Ids in rarer calls: clocks of processes and threads, robust lists, pages, memory of shm, terminals, owners, tracers.
#include "../guest.h"
#include <linux/kcmp.h>
static pid_t tid_of_other;
static void *other(void *unused)
{
    (void)unused;
    tid_of_other = gettid();
    guest_note("thread");
    guest_await("asked");
    return NULL;
}
static void child(void)
{
    guest_note("child");
    guest_await("asked");
}
static long line(const char *path, const char *name)
{
    char buf[8192], *at;
    if (guest_read_text(path, buf, sizeof buf) < 0)
        return -1;
    at = strstr(buf, name);
    return at ? atol(at + strlen(name)) : -2;
}
static void clocks(pid_t kid, pthread_t thread)
{
    struct timespec t;
    clockid_t c;
    CHECK_EQ("clock of a child", 0, clock_getcpuclockid(kid, &c));
    SYS(clock_gettime(c, &t));
    CHECK_EQ("own clock", 0, clock_getcpuclockid(getpid(), &c));
    SYS(clock_gettime(c, &t));
    PT(pthread_getcpuclockid(thread, &c));
    SYS(clock_gettime(c, &t));
    PT(pthread_getcpuclockid(pthread_self(), &c));
    SYS(clock_gettime(c, &t));
    CHECK(t.tv_sec * 1000000000ll + t.tv_nsec > 0);
}
static void threads(pthread_t thread)
{
    struct sched_param p = {0};
    int policy;
    char name[32];
    cpu_set_t set;
    void *head;
    size_t len;
    CHECK_EQ("gettid", tid_of_other, tid_of_other);
    PT(pthread_getschedparam(thread, &policy, &p));
    PT(pthread_setschedparam(thread, policy, &p));
    PT(pthread_getaffinity_np(thread, sizeof set, &set));
    PT(pthread_setaffinity_np(thread, sizeof set, &set));
    PT(pthread_setname_np(thread, "renamed"));
    PT(pthread_getname_np(thread, name, sizeof name));
    CHECK_STR("name", "renamed", name);
    SYS(syscall(SYS_get_robust_list, tid_of_other, &head, &len));
    SYS(sched_getaffinity(tid_of_other, sizeof set, &set));
    SYS(getpriority(PRIO_PROCESS, tid_of_other));
    CHECK_EQ("tgkill", 0, tgkill(getpid(), tid_of_other, 0));
    CHECK_EQ("tkill", 0, syscall(SYS_tkill, tid_of_other, 0));
    CHECK_EQ("set_tid_address", gettid(), syscall(SYS_set_tid_address, &(int){0}));
    struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
    *(int *)((char *)&e + offsetof(struct sigevent, _sigev_un)) = tid_of_other;
    int timer;
    SYS(syscall(SYS_timer_create, CLOCK_MONOTONIC, &e, &timer));
    SYS(syscall(SYS_timer_delete, timer));
}
static void files(pid_t kid, int pipe_end, int pair, int shm)
{
    struct shmid_ds ds;
    char path[64];
    int owner, pidfd;
    SYS(shmctl(shm, IPC_STAT, &ds));
    CHECK_EQ("shm_lpid", kid, ds.shm_lpid);
    CHECK_EQ("shm_cpid", getpid(), ds.shm_cpid);
    SYS(fcntl(pipe_end, F_SETOWN, kid));
    CHECK_EQ("F_GETOWN", kid, fcntl(pipe_end, F_GETOWN));
    SYS(fcntl(pipe_end, F_SETOWN, -getpgrp()));
    CHECK_EQ("F_GETOWN of a group", -getpgrp(), fcntl(pipe_end, F_GETOWN));
    owner = getpid();
    SYS(ioctl(pair, SIOCSPGRP, &owner));
    owner = 0;
    SYS(ioctl(pair, SIOCGPGRP, &owner));
    CHECK_EQ("SIOCGPGRP", getpid(), owner);
    pidfd = SYS(syscall(SYS_pidfd_open, kid, 0));
    sprintf(path, "/proc/self/fdinfo/%d", pidfd);
    CHECK_EQ("Pid of a pidfd", kid, line(path, "Pid:"));
    SYS(close(pidfd));
}
static void proc(pid_t kid)
{
    char path[64], own[64], buf[64] = "";
    struct dirent *d;
    int seen = 0;
    DIR *dir = opendir("/proc");
    CHECK(dir);
    while ((d = readdir(dir)))
        seen |= (atol(d->d_name) == getpid()) | (atol(d->d_name) == kid) << 1;
    closedir(dir);
    CHECK_EQ("entries of /proc", 3, seen);
    sprintf(own, "%d", getpid());
    SYS(readlink("/proc/self", buf, sizeof buf - 1));
    CHECK_STR("/proc/self", own, buf);
    sprintf(path, "/proc/%d/status", kid);
    CHECK_EQ("Pid", kid, line(path, "\nPid:"));
    CHECK_EQ("PPid", getpid(), line(path, "\nPPid:"));
    sprintf(path, "/proc/%d/stat", kid);
    CHECK_EQ("pid", kid, line(path, ""));
    sprintf(path, "/proc/%d/task/%d/children", getpid(), getpid());
    if (access(path, R_OK) == 0) {
        CHECK_EQ("children", kid, line(path, ""));
    }
}
int main(void)
{
    int pipes[2], pair[2];
    int shm = SYS(shmget(IPC_PRIVATE, 4096, 0600));
    SYS(pipe(pipes));
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    pthread_t thread = guest_thread(other, NULL);
    guest_await("thread");
    fflush(NULL);
    pid_t kid = SYS(fork());
    if (kid == 0) {
        SYS(shmdt(shmat(shm, NULL, 0)));
        child();
        _exit(0);
    }
    guest_await("child");
    guest_ready();
    clocks(kid, thread);
    threads(thread);
    files(kid, pipes[0], pair[0], shm);
    proc(kid);
    long type = syscall(SYS_kcmp, getpid(), kid, KCMP_VM, 0, 0);
    CHECK(type > 0 || (type < 0 && errno != ESRCH));
    if (prctl(PR_SET_PTRACER, kid, 0, 0, 0))
        CHECK_EQ("without Yama", EINVAL, errno);
    void *page = NULL;
    int status = 0;
    SYS(syscall(SYS_move_pages, kid, 0, &page, NULL, &status, 0));
    guest_note("asked");
    guest_join(thread);
    guest_reap(kid, 0);
    SYS(shmctl(shm, IPC_RMID, NULL));
    return 0;
}
