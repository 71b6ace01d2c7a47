// Hard limits that nobody but root can raise again, as low as the program gets along with.
// args: nofile nofile_full nofile_exec fsize as data memlock sigpending stack core several user
#include "../guest.h"
static long field(const char *name)
{
    char buf[8192];
    guest_read_text("/proc/self/status", buf, sizeof buf);
    char *at = strstr(buf, name);
    return at ? atol(at + strlen(name) + 1) : 0;
}
static rlim_t wanted[RLIM_NLIMITS];
static void set(int what, rlim_t both)
{
    struct rlimit was, l = {both, both};
    SYS(getrlimit(what, &was));
    if (was.rlim_max < both)
        SKIP("limit %d is lower already", what);
    SYS(setrlimit(what, &l));
    wanted[what] = both;
}
static void check(int what)
{
    struct rlimit l;
    SYS(getrlimit(what, &l));
    CHECK_EQ("soft limit", wanted[what], l.rlim_cur);
    CHECK_EQ("hard limit", wanted[what], l.rlim_max);
}
static const long MIB = 1 << 20;
int main(int argc, char **argv)
{
    int pipes[2], last = -1, is_child = argc > 2;
    char byte = 'x';
    if (argc < 2)
        SKIP("needs the name of a limit");
    SYS(pipe(pipes));
    SYS(write(pipes[1], &byte, 1));
    if (guest_is(argv, "nofile_exec") && !is_child) {
        struct rlimit l = {40, 40};
        SYS(setrlimit(RLIMIT_NOFILE, &l));
        SYS(execl("/proc/self/exe", argv[0], argv[1], "child", NULL));
    }
    if (guest_is(argv, "nofile"))
        set(RLIMIT_NOFILE, 40);
    else if (guest_is(argv, "nofile_exec"))
        wanted[RLIMIT_NOFILE] = 40;
    else if (guest_is(argv, "nofile_full")) {
        set(RLIMIT_NOFILE, 40);
        for (int fd; (fd = dup(pipes[0])) >= 0;)
            last = fd;
        CHECK_EQ("last descriptor", 39, last);
    } else if (guest_is(argv, "fsize"))
        set(RLIMIT_FSIZE, 4096);
    else if (guest_is(argv, "as"))
        set(RLIMIT_AS, field("VmSize:") * 1024 + 32 * MIB);
    else if (guest_is(argv, "data"))
        set(RLIMIT_DATA, field("VmData:") * 1024 + 16 * MIB);
    else if (guest_is(argv, "memlock")) {
        static char locked[4096] __attribute__((aligned(4096)));
        SYS(mlock(locked, sizeof locked));
        set(RLIMIT_MEMLOCK, 4096);
    } else if (guest_is(argv, "sigpending"))
        set(RLIMIT_SIGPENDING, 1);
    else if (guest_is(argv, "stack"))
        set(RLIMIT_STACK, 256 << 10);
    else if (guest_is(argv, "core"))
        set(RLIMIT_CORE, 0);
    else if (guest_is(argv, "user")) {
        // The limits of another user are told to root only if it has CAP_SYS_RESOURCE.
        if (getuid())
            SKIP("needs root");
        SYS(chmod(guest_dir, 0777));
        set(RLIMIT_FSIZE, 4096);
        set(RLIMIT_NOFILE, 64);
        set(RLIMIT_STACK, MIB);
        SYS(setresgid(65534, 65534, 65534));
        SYS(setresuid(65534, 65534, 65534));
    } else if (guest_is(argv, "several")) {
        set(RLIMIT_NOFILE, 64);
        set(RLIMIT_CORE, 0);
        set(RLIMIT_MEMLOCK, 0);
        set(RLIMIT_SIGPENDING, 4);
        set(RLIMIT_STACK, MIB);
        set(RLIMIT_FSIZE, 1 << 16);
        for (int i = 0; i < 4; i++)
            if (SYS(fork()) == 0) {
                guest_await_go();
                for (int what = 0; what < RLIM_NLIMITS; what++)
                    if (wanted[what])
                        check(what);
                _exit(3);
            }
    }
    guest_ready();
    for (int what = 0; what < RLIM_NLIMITS; what++)
        if (wanted[what])
            check(what);
    SYS(read(pipes[0], &byte, 1));
    CHECK_EQ("byte", 'x', byte);
    if (last >= 0) {
        CHECK_EQ("dup", -1, dup(0));
        SYS(close(last));
        CHECK_EQ("dup", last, dup(0));
    }
    for (int st; guest_is(argv, "several") && wait(&st) > 0;)
        CHECK_EQ("child", 3, WEXITSTATUS(st));
    return 0;
}
