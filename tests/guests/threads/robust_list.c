// The robust list and the clear-tid address of a thread are registered with the kernel as before.
#include "../guest.h"
static volatile int ready;
static void *run(void *x)
{
    void *head, *again;
    size_t len, len2;
    (void)x;
    SYS(syscall(SYS_get_robust_list, 0, &head, &len));
    ready = 1;
    guest_await_go();
    SYS(syscall(SYS_get_robust_list, 0, &again, &len2));
    CHECK(head == again && len == len2);
    return NULL;
}
int main(void)
{
    void *head, *again, *addr = NULL, *addr2 = NULL;
    size_t len, len2;
    pthread_t t = guest_thread(run, NULL);
    SYS(syscall(SYS_get_robust_list, 0, &head, &len));
    int have = !prctl(PR_GET_TID_ADDRESS, &addr);
    AWAIT(ready);
    guest_ready();
    SYS(syscall(SYS_get_robust_list, 0, &again, &len2));
    CHECK(head == again && len == len2);
    if (have) {
        SYS(prctl(PR_GET_TID_ADDRESS, &addr2));
        CHECK(addr == addr2);
    }
    guest_join(t);
    return 0;
}
