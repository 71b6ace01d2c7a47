// Secure bits and capability sets of a process that has them.
#include "../guest.h"
#include <linux/capability.h>
#include <linux/securebits.h>
int main(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct want[2], got[2];
    if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT))
        SKIP("PR_SET_SECUREBITS: %s", strerror(errno));
    SYS(syscall(SYS_capget, &h, want));
    want[0].effective &= ~(1u << CAP_NET_RAW);
    want[0].permitted &= ~(1u << CAP_NET_RAW);
    SYS(syscall(SYS_capset, &h, want));
    SYS(prctl(PR_CAPBSET_DROP, CAP_SYS_MODULE));
    guest_ready();
    CHECK_EQ("securebits", SECBIT_NOROOT, prctl(PR_GET_SECUREBITS));
    SYS(syscall(SYS_capget, &h, got));
    CHECK(memcmp(want, got, sizeof got) == 0);
    CHECK_EQ("bounding set", 0, prctl(PR_CAPBSET_READ, CAP_SYS_MODULE));
    return 0;
}
