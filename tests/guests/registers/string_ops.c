// A long rep movsb and a vectorised memcpy go on where they were.
#include "../guest.h"
static volatile int stop;
static volatile long rounds;
static void *run(void *x)
{
    enum { LEN = 4 << 20 };
    char *a = malloc(LEN), *b = malloc(LEN);
    (void)x;
    guest_fill(a, LEN, 3);
    while (!stop) {
        void *d = b, *s = a;
        size_t n = LEN;
        memset(b, 0, LEN);
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
        CHECK(memcmp(a, b, LEN) == 0);
        memset(b, 0, LEN);
        memcpy(b, a, LEN);
        CHECK(memcmp(a, b, LEN) == 0);
        rounds++;
    }
    return NULL;
}
int main(void)
{
    pthread_t t = guest_thread(run, NULL);
    AWAIT(rounds > 2);
    guest_ready();
    long before = rounds;
    AWAIT(rounds > before + 2);
    stop = 1;
    guest_join(t);
    return 0;
}
