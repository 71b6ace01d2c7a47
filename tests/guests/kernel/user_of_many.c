// Real, effective and saved ids that all differ, of a process that can go back to root.
#include "../guest.h"
int main(void)
{
    uid_t r, e, s;
    if (getuid())
        SKIP("needs root");
    SYS(chmod(guest_dir, 0777));
    SYS(setresgid(10, 20, 0));
    SYS(setresuid(30, 40, 0));
    SYS(prctl(PR_SET_DUMPABLE, 1));
    guest_ready();
    SYS(getresuid(&r, &e, &s));
    CHECK_EQ("uid", 30, r);
    CHECK_EQ("euid", 40, e);
    CHECK_EQ("suid", 0, s);
    SYS(getresgid(&r, &e, &s));
    CHECK_EQ("gid", 10, r);
    CHECK_EQ("egid", 20, e);
    CHECK_EQ("sgid", 0, s);
    SYS(setresuid(0, 0, 0));
    SYS(setresgid(0, 0, 0));
    CHECK_EQ("euid", 0, geteuid());
    return 0;
}
