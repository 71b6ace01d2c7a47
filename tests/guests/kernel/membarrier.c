// A registration for expedited membarrier holds.
#include "../guest.h"
#include <linux/membarrier.h>
int main(void)
{
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0))
        SKIP("membarrier: %s", strerror(errno));
    guest_ready();
    SYS(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
    return 0;
}
