// The checkpoint's own signal comes when nobody wants a checkpoint: blocked calls go on as if nothing had been.
#include "../guest.h"
static int p[2], rounds;
static volatile pid_t tid;
static int signal_of_ours(void)
{
    char text[8192], *at;
    guest_read_text("/proc/self/status", text, sizeof text);
    at = strstr(text, "SigCgt:");
    unsigned long long caught = at ? strtoull(at + 7, NULL, 16) : 0;
    for (int s = 34; s <= 64; s++)
        if (caught >> (s - 1) & 1)
            return s;
    return 0;
}
static void *reads(void *x)
{
    char c;
    (void)x;
    tid = gettid();
    while (SYS(read(p[0], &c, 1)) == 1)
        rounds++;
    return NULL;
}
static void bother(int sig)
{
    for (int i = 0; sig && i < 20; i++) {
        SYS(syscall(SYS_tgkill, getpid(), tid, sig));
        SYS(kill(getpid(), sig));
    }
}
int main(void)
{
    int sig = signal_of_ours();
    SYS(pipe(p));
    pthread_t t = guest_thread(reads, NULL);
    AWAIT(tid);
    guest_await_in(tid, SYS_read);
    bother(sig);
    guest_ready();
    CHECK_EQ("signal", sig, signal_of_ours());
    guest_await_in(tid, SYS_read);
    bother(sig);
    struct timespec ms = {0, 200000000}, left;
    CHECK_EQ("nanosleep", 0, nanosleep(&ms, &left));
    SYS(write(p[1], "x", 1));
    SYS(close(p[1]));
    guest_join(t);
    CHECK_EQ("rounds", 1, rounds);
    return 0;
}
