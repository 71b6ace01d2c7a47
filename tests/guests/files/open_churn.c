// Threads open, use and close files and pipes all the time while checkpoints come; no descriptor is lost or swapped.
#include "../guest.h"
enum { THREADS = 4, HELD = 20 };
static void *run(void *x)
{
    long me = (long)x, n = 0;
    char name[64], path[256], buf[32], want[32];
    sprintf(name, "f%ld", me);
    guest_path(path, name);
    while (!guest_going()) {
        int held[HELD], p[2];
        for (int i = 0; i < HELD; i++) {
            held[i] = SYS(open(path, O_RDWR | O_CREAT | (i % 2 ? O_CLOEXEC : 0), 0600));
            SYS(lseek(held[i], me * 100 + i, SEEK_SET));
        }
        SYS(pipe(p));
        int len = sprintf(want, "%ld %ld", me, n++);
        CHECK_EQ("write", len, write(p[1], want, len));
        for (int i = 0; i < HELD; i++) {
            CHECK_EQ("offset", me * 100 + i, SYS(lseek(held[i], 0, SEEK_CUR)));
            CHECK_EQ("close-on-exec", i % 2 ? FD_CLOEXEC : 0, SYS(fcntl(held[i], F_GETFD)));
            SYS(close(held[i]));
        }
        CHECK_EQ("read", len, SYS(read(p[0], buf, sizeof buf)));
        CHECK(memcmp(buf, want, len) == 0);
        SYS(close(p[0]));
        SYS(close(p[1]));
    }
    return NULL;
}
int main(void)
{
    pthread_t t[THREADS];
    for (long i = 0; i < THREADS; i++)
        t[i] = guest_thread(run, (void *)i);
    guest_ready();
    for (int i = 0; i < THREADS; i++)
        guest_join(t[i]);
    return 0;
}
