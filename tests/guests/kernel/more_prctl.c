// Further settings: machine checks, time stamp counter, speculation, file system ids, autogroup, dump filter.
// args: mce_kill tsc speculation fsuid autogroup coredump_filter timerslack_ns umask iopriority no_new_privs_thread cpuid user_dispatch dnotify
#include "../guest.h"
#include <sys/fsuid.h>
static int text_is(const char *path, const char *want)
{
    char got[256];
    guest_read_text(path, got, sizeof got);
    return strncmp(got, want, strlen(want)) == 0;
}
static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        SKIP("%s: %s", path, strerror(errno));
    close(fd);
}
static volatile int ready, faults;
static volatile char *blocked;
static void count(int sig) { (void)sig, faults++; }
static void skip_cpuid(int sig, siginfo_t *info, void *uc)
{
    (void)sig, (void)info;
    faults++;
    ((ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP] += 2;
}
static void skip_call(int sig, siginfo_t *info, void *uc)
{
    (void)sig, (void)info, (void)uc;
    *blocked = 0;
    faults++;
}
static void *nnp(void *x)
{
    (void)x;
    SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    ready = 1;
    guest_await_go();
    CHECK_EQ("no_new_privs", 1, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    return NULL;
}
int main(int argc, char **argv)
{
    (void)argc;
    if (guest_is(argv, "cpuid")) {
        const int set = 0x1012;
        if (syscall(SYS_arch_prctl, set, 0))
            SKIP("ARCH_SET_CPUID: %s", strerror(errno));
        struct sigaction a = {.sa_sigaction = skip_cpuid, .sa_flags = SA_SIGINFO};
        SYS(sigaction(SIGSEGV, &a, NULL));
        guest_ready();
        unsigned eax = 0, ebx, ecx = 0, edx;
        __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
        CHECK_EQ("faults", 1, faults);
    } else if (guest_is(argv, "user_dispatch")) {
        // It is there and holds, or is not there.
        static volatile char off;
        int there = prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, &off) == 0;
        guest_ready();
        struct sigaction a = {.sa_sigaction = skip_call, .sa_flags = SA_SIGINFO};
        SYS(sigaction(SIGSYS, &a, NULL));
        blocked = &off, off = there;
        syscall(SYS_getppid);
        off = 0;
        CHECK_EQ("dispatched", there, faults);
    } else if (guest_is(argv, "dnotify")) {
        // As above.
        int fd = SYS(open(guest_dir, O_RDONLY | O_DIRECTORY));
        signal(SIGIO, count);
        int there = fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT) == 0;
        guest_ready();
        int before = faults;
        guest_note("made");
        CHECK_EQ("told", there, faults > before);
    } else if (guest_is(argv, "mce_kill")) {
        SYS(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
        guest_ready();
        CHECK_EQ(argv[1], PR_MCE_KILL_EARLY, prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
    } else if (guest_is(argv, "tsc")) {
        int got = 0;
        SYS(prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0));
        // Naps read the clock through the vdso only where they ask for it: nanosleep does not.
        guest_ready();
        SYS(prctl(PR_GET_TSC, &got, 0, 0, 0));
        CHECK_EQ(argv[1], PR_TSC_SIGSEGV, got);
    } else if (guest_is(argv, "speculation")) {
        if (prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0))
            SKIP("PR_SET_SPECULATION_CTRL: %s", strerror(errno));
        int want = prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0);
        guest_ready();
        CHECK_EQ(argv[1], want, prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0));
    } else if (guest_is(argv, "fsuid")) {
        if (getuid())
            SKIP("needs root");
        SYS(chmod(guest_dir, 0777));
        setfsgid(1234);
        setfsuid(4321);
        guest_ready();
        CHECK_EQ("fsuid", 4321, setfsuid(-1));
        CHECK_EQ("fsgid", 1234, setfsgid(-1));
    } else if (guest_is(argv, "autogroup")) {
        put("/proc/self/autogroup", "7");
        char want[256];
        guest_read_text("/proc/self/autogroup", want, sizeof want);
        guest_ready();
        CHECK(strstr(want, "nice 7"));
    } else if (guest_is(argv, "coredump_filter")) {
        put("/proc/self/coredump_filter", "0x7f");
        guest_ready();
        CHECK(text_is("/proc/self/coredump_filter", "0000007f"));
    } else if (guest_is(argv, "timerslack_ns")) {
        SYS(prctl(PR_SET_TIMERSLACK, 777777, 0, 0, 0));
        guest_ready();
        CHECK_EQ(argv[1], 777777, prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
    } else if (guest_is(argv, "umask")) {
        umask(0137);
        guest_ready();
        CHECK_EQ(argv[1], 0137, umask(0));
    } else if (guest_is(argv, "iopriority")) {
        SYS(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6));
        guest_ready();
        CHECK_EQ(argv[1], 2 << 13 | 6, syscall(SYS_ioprio_get, 1, 0));
    } else if (guest_is(argv, "no_new_privs_thread")) {
        pthread_t t = guest_thread(nnp, NULL);
        AWAIT(ready);
        guest_ready();
        CHECK_EQ("main", 0, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
        guest_join(t);
    }
    return 0;
}
