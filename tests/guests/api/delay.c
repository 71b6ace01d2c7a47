// A critical section that no checkpoint may cut through: seen from a callback.
#include "../guest.h"
#include "../../../include/ckpt/ckpt.h"
static volatile unsigned long a, b;
static volatile int checkpoints, over;
static int at_checkpoint(struct ckpt_occasion *o, void *data)
{
    (void)data;
    checkpoints++;
    if (a != b)
        memcpy(o->reason, "torn apart", 11);
    return a != b;
}
static void *works(void *unused)
{
    while (!over) {
        ckpt_delay();
        a++;
        ckpt_delay();
        guest_nap();
        ckpt_allow();
        b++;
        ckpt_allow();
        guest_nap();
    }
    return unused;
}
int main(void)
{
    ckpt_on_checkpoint(at_checkpoint, NULL);
    pthread_t t = guest_thread(works, NULL);
    AWAIT(b > 3);
    guest_ready();
    over = 1;
    guest_join(t);
    CHECK(a == b);
    CHECK(checkpoints >= ckpt_restarts());
    return 0;
}
