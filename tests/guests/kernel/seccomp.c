// Seccomp filters: of a process, inherited, several, of threads, that end, trap, look at arguments; those that cannot be set again are refused.
// args: filter child inherited stacked threads tsync ends trap arguments strict raw hinders own exec spawned
#include "../guest.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#define LOAD(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
static void set(int by, unsigned flags, struct sock_filter *code, int len)
{
    struct sock_fprog prog = {len, code};
    SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (by == SYS_prctl)
        SYS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0));
    else if (by == SYS_seccomp)
        CHECK_EQ("seccomp", 0, SYS(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog)));
    else {
        long done;
        __asm__ volatile("syscall"
                         : "=a"(done)
                         : "a"(SYS_seccomp), "D"(SECCOMP_SET_MODE_FILTER), "S"(0), "d"(&prog)
                         : "rcx", "r11", "memory");
        CHECK_EQ("seccomp", 0, done);
    }
}
// One call gets one answer.
static void answer(int by, unsigned flags, int call, unsigned what)
{
    struct sock_filter code[] = {LOAD(0), UNLESS(call, 1), RETURN(what), RETURN(SECCOMP_RET_ALLOW)};
    set(by, flags, code, 4);
}
static void filter(void) { answer(SYS_prctl, 0, SYS_getpriority, SECCOMP_RET_ERRNO | 42); }
static int filtered(void)
{
    errno = 0;
    return getpriority(PRIO_PROCESS, 0) == -1 && errno == 42;
}
static void verify(void) { CHECK(filtered()); }
static int counted(void)
{
    char text[4096], *at;
    CHECK(guest_read_text("/proc/thread-self/status", text, sizeof text) > 0);
    CHECK(at = strstr(text, "Seccomp_filters:\t"));
    return atoi(at + strlen("Seccomp_filters:\t"));
}
static void child(void)
{
    filter();
    guest_note("child");
    guest_await_go();
    verify();
}
static void inherits(void)
{
    guest_note("child");
    guest_await_go();
    verify();
}
static int before, ready;
static void *thread(void *wanted)
{
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    guest_await_go();
    CHECK_EQ("filters of a thread", before + (long)wanted, counted());
    CHECK_EQ("filtered", wanted != NULL, filtered());
    return NULL;
}
static void strict(void)
{
    guest_note("child");
    SYS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0));
    for (;;)
        ;
}
static volatile int trapped;
static void on_sys(int s, siginfo_t *i, void *context)
{
    (void)s;
    trapped = i->si_syscall == SYS_getpriority;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = -7;
}
static void breaks(void) { getpriority(PRIO_PROCESS, 0); }
static void *own(void *none)
{
    (void)none;
    filter();
    return thread((void *)1);
}
static void in_threads(void *wanted, void (*then)(void))
{
    pthread_t first = guest_thread(thread, wanted);
    AWAIT(__atomic_load_n(&ready, __ATOMIC_SEQ_CST) == 1);
    then();
    pthread_t second = guest_thread(thread, (void *)1);
    AWAIT(__atomic_load_n(&ready, __ATOMIC_SEQ_CST) == 2);
    guest_ready();
    guest_join(first);
    guest_join(second);
    verify();
}
static void synced(void) { answer(SYS_seccomp, SECCOMP_FILTER_FLAG_TSYNC, SYS_getpriority, SECCOMP_RET_ERRNO | 42); }
int main(int argc, char **argv)
{
    (void)argc;
    before = counted();
    if (guest_is(argv, "child") || guest_is(argv, "inherited")) {
        if (guest_is(argv, "inherited"))
            filter();
        pid_t kid = guest_fork(guest_is(argv, "child") ? child : inherits);
        guest_await("child");
        guest_ready();
        guest_reap(kid, 0);
        CHECK_EQ("filtered", guest_is(argv, "inherited"), filtered());
    } else if (guest_is(argv, "stacked")) {
        filter();
        answer(SYS_seccomp, SECCOMP_FILTER_FLAG_LOG, SYS_getpriority, SECCOMP_RET_ERRNO | 43);
        answer(SYS_prctl, 0, SYS_chroot, SECCOMP_RET_ERRNO | 44);
        guest_ready();
        // Of equal answers the newest counts.
        CHECK(getpriority(PRIO_PROCESS, 0) == -1 && errno == 43);
        CHECK(chroot("/") == -1 && errno == 44);
        CHECK_EQ("filters", before + 3, counted());
        answer(SYS_prctl, 0, SYS_sethostname, SECCOMP_RET_ERRNO | 45);
        CHECK_EQ("filters", before + 4, counted());
    } else if (guest_is(argv, "threads")) {
        in_threads(NULL, filter);
    } else if (guest_is(argv, "tsync")) {
        in_threads((void *)1, synced);
    } else if (guest_is(argv, "ends")) {
        answer(SYS_seccomp, 0, SYS_getpriority, SECCOMP_RET_KILL_PROCESS);
        guest_ready();
        int status;
        pid_t kid = guest_fork(breaks);
        SYS(waitpid(kid, &status, 0));
        CHECK_EQ("ended by", SIGSYS, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    } else if (guest_is(argv, "trap")) {
        struct sigaction act = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO};
        SYS(sigaction(SIGSYS, &act, NULL));
        answer(SYS_seccomp, SECCOMP_FILTER_FLAG_SPEC_ALLOW, SYS_getpriority, SECCOMP_RET_TRAP);
        guest_ready();
        CHECK_EQ("what the handler answers", -7, syscall(SYS_getpriority, PRIO_PROCESS, 0) == -1 ? -errno : 0);
        CHECK(trapped);
    } else if (guest_is(argv, "arguments")) {
        // As container runtimes do: no namespaces, no netlink sockets, no pushing into a terminal.
        struct sock_filter code[] = {
            LOAD(0),
            UNLESS(SYS_clone, 3),
            LOAD(16),
            BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x7e020000, 8, 0),
            RETURN(SECCOMP_RET_ALLOW),
            UNLESS(SYS_socket, 2),
            LOAD(16),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 4, 5),
            UNLESS(SYS_ioctl, 4),
            LOAD(24),
            UNLESS(TIOCSTI, 2),
            RETURN(SECCOMP_RET_ERRNO | 47),
            RETURN(SECCOMP_RET_ERRNO | 46),
            RETURN(SECCOMP_RET_ALLOW),
        };
        set(SYS_seccomp, 0, code, sizeof code / sizeof *code);
        guest_ready();
        CHECK(socket(AF_NETLINK, SOCK_RAW, 0) == -1 && errno == 46);
        CHECK(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) == -1 && errno == 46);
        CHECK(ioctl(0, TIOCSTI, "x") == -1 && errno == 47);
        close(SYS(socket(AF_UNIX, SOCK_STREAM, 0)));
    } else if (guest_is(argv, "strict")) {
        guest_refused("strict mode");
        pid_t kid = guest_fork(strict);
        guest_await("child");
        // It takes no signal but those that it cannot help: the mode is seen in its status.
        char path[64], text[4096];
        sprintf(path, "/proc/%d/status", kid);
        AWAIT(guest_read_text(path, text, sizeof text) > 0 && strstr(text, "Seccomp:\t1"));
        guest_ready();
        SYS(kill(kid, SIGKILL));
        SYS(waitpid(kid, NULL, 0));
    } else if (guest_is(argv, "raw")) {
        guest_refused("did not set itself by prctl or syscall");
        answer(-1, 0, SYS_getpriority, SECCOMP_RET_ERRNO | 42);
        guest_ready();
        verify();
    } else if (guest_is(argv, "hinders")) {
        guest_refused("refuses memfd_create");
        answer(SYS_prctl, 0, SYS_memfd_create, SECCOMP_RET_ERRNO | 42);
        guest_ready();
        CHECK(memfd_create("x", 0) == -1 && errno == 42);
    } else if (guest_is(argv, "own")) {
        guest_refused("its main thread has not");
        pthread_t one = guest_thread(own, NULL);
        AWAIT(__atomic_load_n(&ready, __ATOMIC_SEQ_CST) == 1);
        guest_ready();
        guest_join(one);
        CHECK(!filtered());
    } else if (guest_is(argv, "exec")) {
        // Two filters go along, one more is the new program's own; no variable of ours is left for it.
        if (!guest_noted("again")) {
            filter();
            answer(SYS_seccomp, 0, SYS_chroot, SECCOMP_RET_ERRNO | 44);
            guest_note("again");
            execv("/proc/self/exe", argv);
        }
        answer(SYS_seccomp, 0, SYS_sethostname, SECCOMP_RET_ERRNO | 45);
        guest_ready();
        verify();
        CHECK(chroot("/") == -1 && errno == 44);
        CHECK(sethostname("", 0) == -1 && errno == 45);
        CHECK(!getenv("CKPT_FILTERS"));
        CHECK_EQ("filters", before + 1, counted());
    } else if (guest_is(argv, "spawned")) {
        filter();
        pid_t kid;
        char *args[] = {argv[0], "spawned_child", NULL};
        PT(posix_spawn(&kid, "/proc/self/exe", NULL, NULL, args, environ));
        guest_await("child");
        guest_ready();
        guest_reap(kid, 0);
        verify();
    } else if (guest_is(argv, "spawned_child")) {
        inherits();
    } else {
        filter();
        guest_ready();
        verify();
    }
    return 0;
}
