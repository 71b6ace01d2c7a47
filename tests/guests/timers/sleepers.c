// Relative and absolute sleeps end at or after their time, never before.
#include "../guest.h"
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
static void *relative(void *x)
{
    double start = now();
    struct timespec t = {0, 500000000};
    (void)x;
    SYS(nanosleep(&t, NULL));
    CHECK(now() - start >= 0.5);
    return NULL;
}
static void *absolute(void *x)
{
    struct timespec t;
    (void)x;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += 500000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    PT(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL));
    CHECK(now() >= t.tv_sec + t.tv_nsec / 1e9);
    return NULL;
}
static void *polls(void *x)
{
    double start = now();
    (void)x;
    CHECK_EQ("poll", 0, SYS(poll(NULL, 0, 500)));
    CHECK(now() - start >= 0.499);
    return NULL;
}
int main(void)
{
    pthread_t t[3] = {guest_thread(relative, NULL), guest_thread(absolute, NULL), guest_thread(polls, NULL)};
    guest_ready();
    for (int i = 0; i < 3; i++)
        guest_join(t[i]);
    return 0;
}
