// A process that can start no thread any more, not even one for the checkpoint: RLIMIT_NPROC 0, as an ordinary user, or a
// full control group.
// args: alone threads pending full asks group vdso no_new_privs landlock child tables none_left leader_gone clock
#include "../guest.h"
#include "../../../include/ckpt/ckpt.h"
#include <linux/landlock.h>
static int rounds, stop;
static char group[128];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t said = PTHREAD_COND_INITIALIZER;
static void *count(void *arg)
{
    pthread_mutex_lock(&lock);
    while (!stop) {
        rounds++;
        pthread_cond_broadcast(&said);
        pthread_cond_wait(&said, &lock);
    }
    pthread_mutex_unlock(&lock);
    return arg;
}
static void go_round(void)
{
    pthread_mutex_lock(&lock);
    for (int was = rounds; rounds < was + 3; pthread_cond_wait(&said, &lock))
        pthread_cond_broadcast(&said);
    pthread_mutex_unlock(&lock);
}
static void *look_at_clock(void *arg)
{
    for (struct timespec t; !guest_going();)
        for (int i = 0; i < 100000; i++)
            clock_gettime(CLOCK_MONOTONIC, &t);
    return arg;
}
// The checkpoint finds it in the vdso.
static void look_for_seconds(int n)
{
    struct timespec t, begin;
    SYS(clock_gettime(CLOCK_MONOTONIC, &begin));
    guest_note("ready");
    do
        clock_gettime(CLOCK_MONOTONIC, &t);
    while (t.tv_sec < begin.tv_sec + n);
}
static int open_files(void)
{
    int n = 0;
    for (int i = 0; i < 100; i++)
        n += fcntl(i, F_GETFD) >= 0;
    return n;
}
static void put(const char *name, int number)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", group, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || dprintf(fd, "%d\n", number) < 0)
        SKIP("no control group of one's own");
    close(fd);
}
// Everything that is in it has to leave before it can go.
static void leave_group(void)
{
    int fd = open("/sys/fs/cgroup/pids/cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        dprintf(fd, "0\n");
    close(fd);
    rmdir(group);
}
static void enter_group(void)
{
    snprintf(group, sizeof group, "/sys/fs/cgroup/pids/ckpt-guest-%d", guest_unique());
    if (mkdir(group, 0755))
        SKIP("no control group of one's own");
    put("cgroup.procs", 0);
    put("pids.max", 1);
}
// A thread with descriptors of its own: they would be fetched into the table of one that goes on.
static void *with_own_table(void *arg)
{
    SYS(unshare(CLONE_FILES));
    SYS(close(*(int *)arg));
    rounds = 1;
    guest_await_go();
    return NULL;
}
static void child(void)
{
    struct rlimit none = {0, 0};
    SYS(setrlimit(RLIMIT_NPROC, &none));
    guest_note("child");
    guest_await_go();
    CHECK_EQ("fork", -1, fork());
}
static void confine(void)
{
    struct landlock_ruleset_attr rules = {.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_BLOCK};
    int set = syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0);
    if (set < 0)
        SKIP("no Landlock here");
    SYS(syscall(SYS_landlock_restrict_self, set, 0));
    close(set);
    guest_refused("Landlock");
}
static int body(int argc, char **argv)
{
    struct rlimit none = {0, 0}, got;
    pthread_t t[3];
    int ends[2], files, threads = guest_is(argv, "threads") || guest_is(argv, "pending") ? 3 : guest_is(argv, "vdso");
    int in_group = guest_is(argv, "group"), asks = guest_is(argv, "asks");
    char why[256] = "";
    const int values[] = {6, 7, 8, 5, 9};
    siginfo_t i;
    sigset_t set;
    struct timespec zero = {0, 0};
    if (argc < 2)
        SKIP("needs a case");
    if (in_group) {
        enter_group();
    } else if (!geteuid()) {
        if (guest_is(argv, "landlock"))
            SKIP("an agent of another user cannot tell");
        // The limit does not hold for root.
        SYS(chmod(guest_dir, 0777));
        SYS(setresgid(65534, 65534, 65534));
        SYS(setresuid(65534, 65534, 65534));
    }
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 1);
    PT(pthread_sigmask(SIG_BLOCK, &set, NULL));
    for (long n = 0; n < threads; n++)
        t[n] = guest_thread(guest_is(argv, "vdso") ? look_at_clock : count, (void *)n);
    SYS(pipe(ends));
    SYS(write(ends[1], "x", 1));
    if (guest_is(argv, "no_new_privs") || guest_is(argv, "landlock"))
        SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (guest_is(argv, "landlock"))
        confine();
    if (guest_is(argv, "child")) {
        pid_t pid = guest_fork(child);
        guest_await("child");
        guest_ready();
        guest_reap(pid, 0);
        guest_reap(guest_fork(guest_await_go), 0);
        return 0;
    }
    if (guest_is(argv, "tables")) {
        t[0] = guest_thread(with_own_table, ends);
        threads = 1;
        AWAIT(rounds);
        guest_refused("its descriptors could not be passed on");
    }
    if (!in_group)
        SYS(setrlimit(RLIMIT_NPROC, &none));
    CHECK_EQ("fork", -1, fork());
    CHECK_EQ("fork", EAGAIN, errno);
    if (guest_is(argv, "pending")) {
        SYS(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 5}));
        for (int n = 6; n < 9; n++)
            PT(pthread_sigqueue(pthread_self(), SIGRTMIN + 1, (union sigval){.sival_int = n}));
        SYS(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 9}));
    }
    int none_left = guest_is(argv, "none_left");
    if (none_left || guest_is(argv, "full")) {
        struct rlimit few = {30, 30};
        if (none_left)
            guest_refused("30 of 30 descriptors");
        SYS(setrlimit(RLIMIT_NOFILE, &few));
        while (dup(ends[0]) >= 0)
            ;
        for (int fd = 22; fd < 30 && !none_left; fd++)
            SYS(close(fd));
    }
    files = open_files();
    if (guest_is(argv, "clock"))
        look_for_seconds(4);
    guest_ready();
    SYS(getrlimit(RLIMIT_NPROC, &got));
    if (!in_group) {
        CHECK_EQ("soft limit", 0, got.rlim_cur);
        CHECK_EQ("hard limit", 0, got.rlim_max);
        CHECK_EQ("fork", -1, fork());
    }
    CHECK_EQ("open files", files, open_files());
    char c;
    CHECK_EQ("pipe", 1, read(ends[0], &c, 1));
    CHECK_EQ("byte", 'x', c);
    if (guest_is(argv, "pending")) {
        // The thread's own come first.
        for (int n = 0; n < 5; n++) {
            CHECK_EQ("signal", n == 3 ? SIGUSR1 : SIGRTMIN + 1, sigtimedwait(&set, &i, &zero));
            CHECK_EQ("value", values[n], i.si_value.sival_int);
            CHECK_EQ("code", SI_QUEUE, i.si_code);
        }
    }
    CHECK_EQ("no signal", -1, sigtimedwait(&set, &i, &zero));
    if (asks && ckpt_enabled() && ckpt_checkpoint(why, sizeof why) < 0)
        guest_fail("ckpt_checkpoint: %s", why);
    CHECK_EQ("open files", files, open_files());
    if (threads == 3)
        go_round();
    pthread_mutex_lock(&lock);
    stop = 1;
    pthread_cond_broadcast(&said);
    pthread_mutex_unlock(&lock);
    for (int n = 0; n < threads; n++)
        CHECK_EQ("join", 0, pthread_join(t[n], NULL));
    if (in_group)
        leave_group();
    return 0;
}
static void *without_leader(void *argv)
{
    AWAIT(guest_state(getpid()) == 'Z');
    exit(body(2, argv));
}
int main(int argc, char **argv)
{
    if (!guest_is(argv, "leader_gone"))
        return body(argc, argv);
    guest_thread(without_leader, argv);
    pthread_exit(NULL);
}
