// The personality of the process.
#include "../guest.h"
#include <sys/personality.h>
int main(void)
{
    int want = ADDR_NO_RANDOMIZE | SHORT_INODE;
    if (personality(want) == -1)
        SKIP("personality: %s", strerror(errno));
    guest_ready();
    CHECK_EQ("personality", want, personality(0xffffffff));
    return 0;
}
