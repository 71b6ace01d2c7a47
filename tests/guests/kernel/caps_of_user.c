// Capabilities of a process that is not root any more: permitted, effective, inheritable, ambient, bounding set.
#include "../guest.h"
#include <linux/capability.h>
#include <linux/securebits.h>
int main(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct want[2] = {{0}}, got[2];
    if (getuid())
        SKIP("needs root");
    SYS(chmod(guest_dir, 0777));
    SYS(prctl(PR_CAPBSET_DROP, CAP_SYS_MODULE));
    SYS(prctl(PR_CAPBSET_DROP, CAP_SYS_RAWIO));
    SYS(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_NOROOT_LOCKED | SECBIT_NOROOT));
    SYS(setresgid(65534, 65534, 65534));
    SYS(setresuid(65534, 65534, 65534));
    want[0].permitted = 1 << CAP_NET_BIND_SERVICE | 1 << CAP_CHOWN | 1 << CAP_NET_RAW;
    want[0].effective = 1 << CAP_NET_BIND_SERVICE | 1 << CAP_CHOWN;
    want[0].inheritable = 1 << CAP_NET_BIND_SERVICE | 1 << CAP_KILL;
    SYS(syscall(SYS_capset, &h, want));
    SYS(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0));
    SYS(prctl(PR_SET_DUMPABLE, 1));
    guest_ready();
    SYS(syscall(SYS_capget, &h, got));
    CHECK_EQ("permitted", want[0].permitted, got[0].permitted);
    CHECK_EQ("effective", want[0].effective, got[0].effective);
    CHECK_EQ("inheritable", want[0].inheritable, got[0].inheritable);
    CHECK_EQ("ambient", 1, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_BIND_SERVICE, 0, 0));
    CHECK_EQ("ambient", 0, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
    CHECK_EQ("bounding", 0, prctl(PR_CAPBSET_READ, CAP_SYS_MODULE));
    CHECK_EQ("bounding", 1, prctl(PR_CAPBSET_READ, CAP_CHOWN));
    CHECK_EQ("securebits", SECBIT_NO_SETUID_FIXUP | SECBIT_NOROOT_LOCKED | SECBIT_NOROOT, prctl(PR_GET_SECUREBITS));
    CHECK_EQ("uid", 65534, getuid());
    return 0;
}
