// Working directory, umask and resource limits; also of a child in a deleted directory.
#include "../guest.h"
static void child(void)
{
    char buf[256];
    umask(0);
    SYS(mkdir(PATH_OF("gone"), 0700));
    SYS(chdir(PATH_OF("gone")));
    SYS(rmdir(PATH_OF("gone")));
    guest_note("child");
    guest_await_go();
    CHECK(getcwd(buf, sizeof buf) == NULL || strstr(buf, "(unreachable)"));
    CHECK_EQ("access", -1, access(PATH_OF("gone"), F_OK));
}
int main(void)
{
    static const int kinds[] = {RLIMIT_NOFILE, RLIMIT_CORE, RLIMIT_STACK, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_CPU, RLIMIT_MEMLOCK, RLIMIT_NPROC};
    struct rlimit want[8], got;
    char cwd[256], now[256];
    for (int i = 0; i < 8; i++) {
        SYS(getrlimit(kinds[i], &want[i]));
        if (i == 0)
            want[i].rlim_cur = 200;
        else if (i == 1)
            want[i].rlim_cur = 0;
        else if (i == 3 || i == 4)
            want[i].rlim_cur = 8UL << 30;
        SYS(setrlimit(kinds[i], &want[i]));
    }
    SYS(mkdir(PATH_OF("sub dir"), 0700));
    SYS(chdir(PATH_OF("sub dir")));
    umask(0137);
    CHECK(getcwd(cwd, sizeof cwd));
    pid_t kid = guest_fork(child);
    guest_await("child");
    guest_ready();
    CHECK(getcwd(now, sizeof now));
    CHECK_STR("cwd", cwd, now);
    CHECK_EQ("umask", 0137, umask(0));
    for (int i = 0; i < 8; i++) {
        SYS(getrlimit(kinds[i], &got));
        CHECK_EQ("soft limit", want[i].rlim_cur, got.rlim_cur);
        CHECK_EQ("hard limit", want[i].rlim_max, got.rlim_max);
    }
    guest_reap(kid, 0);
    return 0;
}
