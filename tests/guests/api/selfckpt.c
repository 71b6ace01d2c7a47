// A thread that checkpoints the program itself, again and again, and knows a restart from a resume.
#include "../guest.h"
#include "../../../include/ckpt/ckpt.h"
static int resumed, restarted, failed;
static char why[256];
static unsigned newest;
/* What the process may know of it, as soon as it is complete. */
static void known_checkpoint(int how)
{
    struct ckpt_status s;
    CHECK_EQ("status", 0, ckpt_status(&s));
    CHECK_EQ("filled in", sizeof s, s.size);
    CHECK_EQ("restarts", ckpt_restarts(), s.restarts);
    CHECK_EQ("ready", 1, s.ready);
    CHECK_EQ("id", 32, strlen(s.computation));
    CHECK(s.generation > newest || how == CKPT_RESTARTED);
    CHECK(s.at_us > 1700000000000000ull || how == CKPT_RESTARTED);
    CHECK(s.generation > 0);
    newest = s.generation;
}
static void *asks(void *unused)
{
    while (!guest_going()) {
        int before = ckpt_restarts(), how = ckpt_checkpoint(why, sizeof why);
        if (how == CKPT_RESTARTED)
            CHECK(ckpt_restarts() > before);
        if (how != CKPT_FAILED)
            known_checkpoint(how);
        *(how == CKPT_RESUMED ? &resumed : how == CKPT_RESTARTED ? &restarted : &failed) += 1;
        guest_nap();
    }
    return unused;
}
int main(void)
{
    int known = ckpt_restarts();
    struct ckpt_status s;
    CHECK_EQ("status", ckpt_enabled() ? 0 : -1, ckpt_status(&s));
    CHECK_EQ("no checkpoint yet", 0, s.generation);
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
