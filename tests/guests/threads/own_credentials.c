// Threads with users, groups and capabilities of their own, set by the system call alone.
#include "../guest.h"
#include <linux/capability.h>
static volatile int ready, told;
static void caps(struct __user_cap_data_struct *d)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    SYS(syscall(SYS_capget, &h, d));
}
static void *other_user(void *x)
{
    uid_t r, e, s;
    (void)x;
    SYS(syscall(SYS_setgroups, 2, (gid_t[]){11, 12}));
    SYS(syscall(SYS_setresgid, 100, 101, 102));
    SYS(syscall(SYS_setresuid, 200, 201, 202));
    __sync_fetch_and_add(&ready, 1);
    AWAIT(told);
    SYS(syscall(SYS_getresuid, &r, &e, &s));
    CHECK_EQ("uid", 200, r);
    CHECK_EQ("euid", 201, e);
    CHECK_EQ("suid", 202, s);
    SYS(syscall(SYS_getresgid, &r, &e, &s));
    CHECK_EQ("gid", 100, r);
    CHECK_EQ("egid", 101, e);
    CHECK_EQ("sgid", 102, s);
    gid_t g[8];
    CHECK_EQ("groups", 2, getgroups(8, g));
    CHECK_EQ("group", 12, g[1]);
    struct __user_cap_data_struct d[2];
    caps(d);
    CHECK_EQ("effective", 0, d[0].effective);
    return NULL;
}
static void *fewer_caps(void *x)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct want[2], got[2];
    (void)x;
    caps(want);
    want[0].effective = 1 << CAP_CHOWN;
    want[0].permitted = 1 << CAP_CHOWN | 1 << CAP_KILL;
    want[1].effective = want[1].permitted = 0;
    SYS(syscall(SYS_capset, &h, want));
    __sync_fetch_and_add(&ready, 1);
    AWAIT(told);
    caps(got);
    CHECK(memcmp(want, got, sizeof got) == 0);
    return NULL;
}
int main(void)
{
    if (getuid())
        SKIP("needs root");
    struct __user_cap_data_struct before[2], after[2];
    pthread_t a = guest_thread(other_user, NULL), b = guest_thread(fewer_caps, NULL);
    AWAIT(ready == 2);
    caps(before);
    guest_ready();
    CHECK_EQ("uid of main", 0, getuid());
    CHECK_EQ("euid of main", 0, geteuid());
    caps(after);
    CHECK(memcmp(before, after, sizeof after) == 0);
    told = 1;
    guest_join(a);
    guest_join(b);
    return 0;
}
