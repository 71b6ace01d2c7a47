// Threads allocate, check and free memory of all sizes while checkpoints come.
#include "../guest.h"
static volatile int stop;
static volatile long rounds;
static void *run(void *x)
{
    unsigned seed = (long)x;
    char *slot[64] = {0};
    size_t size[64];
    for (unsigned i = 0; !stop; i++) {
        unsigned n = rand_r(&seed) % 64;
        if (slot[n]) {
            guest_verify("block", slot[n], size[n], n);
            free(slot[n]);
        }
        size[n] = rand_r(&seed) % (i % 97 ? 2000 : 300000);
        slot[n] = malloc(size[n]);
        guest_fill(slot[n], size[n], n);
        __sync_fetch_and_add(&rounds, 1);
    }
    for (int n = 0; n < 64; n++)
        free(slot[n]);
    return NULL;
}
int main(void)
{
    pthread_t t[4];
    for (long i = 0; i < 4; i++)
        t[i] = guest_thread(run, (void *)(i + 1));
    AWAIT(rounds > 1000);
    guest_ready();
    long before = rounds;
    AWAIT(rounds > before + 1000);
    stop = 1;
    for (int i = 0; i < 4; i++)
        guest_join(t[i]);
    return 0;
}
