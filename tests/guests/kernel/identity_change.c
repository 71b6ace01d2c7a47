// A process that gave up root: users, groups and supplementary groups hold.
#include "../guest.h"
#include <grp.h>
int main(void)
{
    if (getuid())
        SKIP("needs root");
    gid_t groups[2] = {7, 9}, got[8];
    SYS(chmod(guest_dir, 0777));
    pid_t kid = SYS(fork());
    if (kid == 0) {
        SYS(setgroups(2, groups));
        SYS(setresgid(65534, 65534, 65534));
        SYS(setresuid(65534, 65534, 65534));
        guest_note("child");
        guest_await_go();
        uid_t r, e, s;
        SYS(getresuid(&r, &e, &s));
        CHECK_EQ("uid", 65534, r);
        CHECK_EQ("euid", 65534, e);
        CHECK_EQ("suid", 65534, s);
        CHECK_EQ("egid", 65534, getegid());
        CHECK_EQ("groups", 2, getgroups(8, got));
        CHECK_EQ("group", 9, got[1]);
        _exit(0);
    }
    guest_await("child");
    guest_ready();
    guest_reap(kid, 0);
    return 0;
}
