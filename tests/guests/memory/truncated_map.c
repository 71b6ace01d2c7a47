// A map that reaches beyond the end of its file.
#include "../guest.h"
static sigjmp_buf env;
static void on_bus(int s)
{
    (void)s;
    siglongjmp(env, 1);
}
int main(void)
{
    int fd = SYS(open(PATH_OF("short"), O_RDWR | O_CREAT, 0600));
    CHECK_EQ("write", 5, write(fd, "hello", 5));
    char *m = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
         *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    p[1] = 'E';
    signal(SIGBUS, on_bus);
    guest_ready();
    CHECK(memcmp(m, "hello", 6) == 0);
    CHECK(memcmp(p, "hEllo", 6) == 0);
    if (sigsetjmp(env, 1) == 0) {
        m[4096] = 1;
        guest_fail("write beyond the end, expected SIGBUS, got none");
    }
    SYS(ftruncate(fd, 8192));
    m[4096] = 1;
    return 0;
}
