// Code written at run time still runs, in rwx and in rx pages, by a thread that is inside it.
#include "../guest.h"
static volatile int stop;
static int (*spin)(volatile int *);
static volatile int entered;
static void *inside(void *x)
{
    (void)x;
    entered = 1;
    return (void *)(long)spin(&stop);
}
int main(void)
{
    // mov eax, 42; ret
    static const unsigned char answer[] = {0xb8, 42, 0, 0, 0, 0xc3};
    // 1: cmp dword [rdi], 0; je 1b; mov eax, 43; ret
    static const unsigned char loop[] = {0x83, 0x3f, 0, 0x74, 0xfb, 0xb8, 43, 0, 0, 0, 0xc3};
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        SKIP("no writable executable memory");
    memcpy(m, answer, sizeof answer);
    memcpy(m + 4096, loop, sizeof loop);
    SYS(mprotect(m + 4096, 4096, PROT_READ | PROT_EXEC));
    spin = (void *)(m + 4096);
    pthread_t t = guest_thread(inside, NULL);
    AWAIT(entered);
    guest_ready();
    CHECK_EQ("answer", 42, ((int (*)(void))m)());
    m[1] = 44;
    CHECK_EQ("changed answer", 44, ((int (*)(void))m)());
    stop = 1;
    CHECK_EQ("loop", 43, (long)guest_join(t));
    return 0;
}
