// Hundreds of pages, every other one without any rights, each with its content: no page is lost or doubled.
#include "../guest.h"
#define PAGES 1200
int main(void)
{
    char *m = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    guest_fill(m, PAGES * 4096, 4);
    for (int i = 0; i < PAGES; i++)
        SYS(mprotect(m + i * 4096, 4096, i % 2 ? PROT_NONE : PROT_READ));
    guest_ready();
    for (int i = 1; i < PAGES; i += 2)
        SYS(mprotect(m + i * 4096, 4096, PROT_READ));
    guest_verify("content", m, PAGES * 4096, 4);
    return 0;
}
