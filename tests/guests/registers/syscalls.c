// Threads make raw system calls in a tight loop: no result and no preserved register is ever disturbed.
#include "../guest.h"
static volatile int stop;
static volatile long rounds;
static void *run(void *x)
{
    unsigned char buf[64];
    int fd = open("/dev/zero", O_RDONLY);
    (void)x;
    while (!stop) {
        long r, keep1 = 0x123, keep2 = 0x456;
        memset(buf, 1, sizeof buf);
        register long k1 __asm__("r12") = keep1, k2 __asm__("r15") = keep2;
        __asm__ volatile("syscall"
                         : "=a"(r), "+r"(k1), "+r"(k2)
                         : "a"(SYS_read), "D"(fd), "S"(buf), "d"(sizeof buf)
                         : "rcx", "r11", "memory");
        CHECK_EQ("read", sizeof buf, r);
        CHECK_EQ("buffer", 0, buf[0] | buf[63]);
        CHECK_EQ("r12", keep1, k1);
        CHECK_EQ("r15", keep2, k2);
        __asm__ volatile("syscall" : "=a"(r) : "a"(SYS_lseek), "D"(-1L), "S"(0L), "d"(0L) : "rcx", "r11", "memory");
        CHECK_EQ("lseek of a bad descriptor", -EBADF, r);
        __sync_fetch_and_add(&rounds, 1);
    }
    return NULL;
}
int main(void)
{
    pthread_t t[2] = {guest_thread(run, NULL), guest_thread(run, NULL)};
    AWAIT(rounds > 100);
    guest_ready();
    long before = rounds;
    AWAIT(rounds > before + 100);
    stop = 1;
    guest_join(t[0]);
    guest_join(t[1]);
    return 0;
}
