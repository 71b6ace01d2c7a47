// While the image of a large memory is written, the program execs, exits, signals its group, is at its limits, waits.
// args: exec exit kill_group ctrl_c wait_any subreaper nproc fsize
#include "../guest.h"
enum { MIB = 48 };
static volatile sig_atomic_t got;

static void note_signal(int sig)
{
    (void)sig;
    got = got + 1;
}

// No two pages alike: compressing them takes a while.
static uint64_t *large(void)
{
    uint64_t *m = mmap(NULL, (size_t)MIB << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    uint64_t x = 88172645463325252ull;
    for (size_t i = 0; i < (size_t)MIB << 17; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        m[i] = x;
    }
    return m;
}

// Exactly this child ends, no other one is ours, and the signal of its end came.
static void only_child(pid_t pid, int status)
{
    int st;
    CHECK_EQ("any child", pid, SYS(waitpid(-1, &st, __WALL)));
    CHECK_EQ("its status", status, st);
    errno = 0;
    CHECK_EQ("another child", -1, waitpid(-1, &st, __WALL | WNOHANG));
    CHECK_EQ("errno", ECHILD, errno);
}

static void exec_again(void)
{
    pid_t pid = SYS(fork());
    if (pid == 0) {
        execl("/proc/self/exe", "while_written", "after-exec", NULL);
        _exit(1);
    }
    only_child(pid, 7 << 8);
}

// A child with memory of its own, of which a frozen copy may be at work when it ends.
static void child_exits(uint64_t *m)
{
    pid_t pid = SYS(fork());
    if (pid == 0) {
        for (size_t i = 0; i < (size_t)MIB << 17; i += 512)
            m[i]++;
        _exit(3);
    }
    only_child(pid, 3 << 8);
}

// To everybody in the group, as Ctrl-C and kill(0) send it: nobody but us is there.
static void signal_group(int sig)
{
    int before = got;
    SYS(kill(0, sig));
    CHECK(got > before);
}

static void wait_any(void)
{
    pid_t pid = SYS(fork());
    if (pid == 0)
        _exit(1);
    only_child(pid, 1 << 8);
}

static void orphan_comes(void)
{
    pid_t pid = SYS(fork());
    if (pid == 0) {
        if (fork() == 0) {
            usleep(1000);
            _exit(5);
        }
        _exit(4);
    }
    int st, seen = 0;
    while (waitpid(-1, &st, __WALL) > 0)
        seen += WEXITSTATUS(st);
    CHECK_EQ("child and orphan", 9, seen);
}

static void limits(int resource)
{
    struct rlimit was, tight;
    SYS(getrlimit(resource, &was));
    tight = was;
    tight.rlim_cur = resource == RLIMIT_FSIZE ? 4096 : 1;
    SYS(setrlimit(resource, &tight));
    for (int i = 0; i < 20; i++)
        usleep(1000);
    struct rlimit now;
    SYS(getrlimit(resource, &now));
    CHECK_EQ("soft limit", tight.rlim_cur, now.rlim_cur);
    SYS(setrlimit(resource, &was));
}

static const char *what;
static uint64_t *memory;

// Again and again: a checkpoint begins and ends somewhere in here.
static void *act(void *arg)
{
    PT(pthread_sigmask(SIG_UNBLOCK, arg, NULL));
    while (!guest_going()) {
        if (strcmp(what, "exec") == 0)
            exec_again();
        else if (strcmp(what, "exit") == 0)
            child_exits(memory);
        else if (strcmp(what, "kill_group") == 0)
            signal_group(SIGUSR1);
        else if (strcmp(what, "ctrl_c") == 0)
            signal_group(SIGINT);
        else if (strcmp(what, "wait_any") == 0)
            wait_any();
        else if (strcmp(what, "subreaper") == 0)
            orphan_comes();
        else
            limits(strcmp(what, "nproc") == 0 ? RLIMIT_NPROC : RLIMIT_FSIZE);
        usleep(2000);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    what = argc > 1 ? argv[1] : "exec";
    if (strcmp(what, "after-exec") == 0)
        return 7;
    SYS(setpgid(0, 0));
    struct sigaction sa = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    SYS(sigaction(SIGINT, &sa, NULL));
    SYS(sigaction(SIGUSR1, &sa, NULL));
    if (strcmp(what, "subreaper") == 0)
        SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
    memory = large();
    uint64_t first = memory[0], last = memory[((size_t)MIB << 17) - 1];
    // The signals are for the thread that sends them.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    PT(pthread_sigmask(SIG_BLOCK, &set, NULL));
    pthread_t t = guest_thread(act, &set);
    guest_ready();
    guest_join(t);
    CHECK_EQ("first word", first, memory[0]);
    CHECK_EQ("last word", last, memory[((size_t)MIB << 17) - 1]);
    return 0;
}
