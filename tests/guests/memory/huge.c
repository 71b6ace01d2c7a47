// Huge pages: an area with MADV_HUGEPAGE keeps content and advice; explicit ones where they can be had.
#include "../guest.h"
int main(void)
{
    enum { LEN = 8 << 20 };
    char *m = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *h;
    SYS(madvise(m, LEN, MADV_HUGEPAGE) && errno != EINVAL ? -1 : 0);
    guest_fill(m, LEN, 1);
    h = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (h != MAP_FAILED)
        guest_fill(h, 2 << 20, 2);
    guest_ready();
    guest_verify("advised", m, LEN, 1);
    if (h != MAP_FAILED)
        guest_verify("hugetlb", h, 2 << 20, 2);
    return 0;
}
