// A thread that checkpoints the program itself, again and again, and knows a restart from a resume.
#include "../guest.h"
#include "../../../include/ckpt/ckpt.h"
static int resumed, restarted, failed;
static char why[256];
static void *asks(void *unused)
{
    while (!guest_going()) {
        int before = ckpt_restarts(), how = ckpt_checkpoint(why, sizeof why);
        if (how == CKPT_RESTARTED)
            CHECK(ckpt_restarts() > before);
        *(how == CKPT_RESUMED ? &resumed : how == CKPT_RESTARTED ? &restarted : &failed) += 1;
        guest_nap();
    }
    return unused;
}
int main(void)
{
    int known = ckpt_restarts();
    pthread_t t = guest_thread(asks, NULL);
    AWAIT(resumed || failed);
    guest_ready();
    guest_join(t);
    if (!ckpt_enabled()) {
        CHECK_EQ("restarts outside", -1, known);
        CHECK_STR("reason", "not started by ckpt_launch", why);
        return 0;
    }
    if (!resumed || failed)
        guest_fail("%d resumed, %d restarted, %d failed: %s", resumed, restarted, failed, why);
    CHECK(restarted <= ckpt_restarts());
    return 0;
}
