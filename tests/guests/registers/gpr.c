// A thread spins in assembly with a value in every general register.
#include "../guest.h"
static volatile int stop, ready;
static unsigned long out[12];
static void *spin(void *x)
{
    (void)x;
    ready = 1;
    __asm__ volatile("push %%rbp\n"
                     "mov $0x1111, %%rax\n mov $0x2222, %%rbx\n mov $0x3333, %%rdx\n mov $0x4444, %%rsi\n"
                     "mov $0x5555, %%r8\n mov $0x6666, %%r9\n mov $0x7777, %%r10\n mov $0x8888, %%r11\n"
                     "mov $0x9999, %%r12\n mov $0xaaaa, %%r13\n mov $0xbbbb, %%r14\n mov $0xcccc, %%rbp\n"
                     "1: cmpl $0, (%%rcx)\n je 1b\n"
                     "mov %%rax, 0(%%rdi)\n mov %%rbx, 8(%%rdi)\n mov %%rdx, 16(%%rdi)\n mov %%rsi, 24(%%rdi)\n"
                     "mov %%r8, 32(%%rdi)\n mov %%r9, 40(%%rdi)\n mov %%r10, 48(%%rdi)\n mov %%r11, 56(%%rdi)\n"
                     "mov %%r12, 64(%%rdi)\n mov %%r13, 72(%%rdi)\n mov %%r14, 80(%%rdi)\n mov %%rbp, 88(%%rdi)\n"
                     "pop %%rbp\n"
                     :
                     : "c"(&stop), "D"(out)
                     : "rax", "rbx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "memory", "cc");
    return NULL;
}
int main(void)
{
    pthread_t t = guest_thread(spin, NULL);
    AWAIT(ready);
    guest_ready();
    stop = 1;
    guest_join(t);
    for (int i = 0; i < 12; i++)
        CHECK_EQ("register", 0x1111 * (i + 1), out[i]);
    return 0;
}
