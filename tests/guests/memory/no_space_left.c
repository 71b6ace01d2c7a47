// All of the address space is reserved: a checkpoint says that, and leaves the program alone.
#include "../guest.h"
int main(void)
{
    for (size_t len = 1UL << 46; len >= 1UL << 21;)
        if (mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
            len >>= 1;
    guest_refused("taken all of its address space");
    guest_ready();
    CHECK(mmap(NULL, 1 << 22, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
    return 0;
}
