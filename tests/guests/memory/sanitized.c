// A program that is built with AddressSanitizer, whose library wants to be the first: it starts, its checks go on.
// cc: -fsanitize=address
#include "../guest.h"
#include <sanitizer/asan_interface.h>
static void *allocates(void *x)
{
    char *volatile p = malloc(100);
    guest_fill(p, 100, 7);
    guest_await_go();
    guest_verify("of a thread", p, 100, 7);
    free(p);
    return x;
}
int main(void)
{
    char *volatile p = malloc(1000), *volatile gone = malloc(50);
    guest_fill(p, 1000, 3);
    free(gone);
    pthread_t t = guest_thread(allocates, NULL);
    guest_ready();
    guest_join(t);
    guest_verify("heap", p, 1000, 3);
    CHECK_EQ("freed", 1, __asan_address_is_poisoned(gone));
    CHECK_EQ("behind the end", 1, __asan_address_is_poisoned(p + 1000));
    CHECK_EQ("inside", 0, __asan_address_is_poisoned(p + 999));
    free(p);
    return 0;
}
