// Shared memory that a map of it was made longer than (mremap): beyond its end there is nothing, now and later.
// args: alone forked zero memfd large named sysv
#include "../guest.h"
static size_t len = 1 << 20;
static char *m;
static sigjmp_buf env;
static void on_bus(int s)
{
    (void)s;
    siglongjmp(env, 1);
}
static void child(void)
{
    guest_await("asked");
    guest_verify("content", m + 4096, len - 4096, 9);
    CHECK_EQ("parent's byte", 'g', m[100]);
    m[101] = 'h';
}
int main(int argc, char **argv)
{
    char name[64];
    int is_named = guest_is(argv, "named"), fd = -1, flags = MAP_SHARED | MAP_ANONYMOUS;
    (void)argc;
    if (guest_is(argv, "large"))
        len = 9 << 20;
    if (guest_is(argv, "zero"))
        fd = SYS(open("/dev/zero", O_RDWR | O_CLOEXEC));
    if (guest_is(argv, "memfd")) {
        fd = SYS(memfd_create("grown", MFD_CLOEXEC));
        SYS(ftruncate(fd, len));
    }
    if (is_named) {
        fd = SYS(shm_open(guest_object(name, "grown"), O_RDWR | O_CREAT, 0600));
        SYS(ftruncate(fd, len));
    }
    if (guest_is(argv, "sysv")) {
        int id = SYS(shmget(IPC_PRIVATE, len, IPC_CREAT | 0600));
        m = shmat(id, NULL, 0);
        SYS(shmctl(id, IPC_RMID, NULL));
    } else {
        m = mmap(NULL, len, PROT_READ | PROT_WRITE, fd < 0 ? flags : MAP_SHARED, fd, 0);
    }
    CHECK(m != MAP_FAILED);
    if (fd >= 0)
        close(fd);
    guest_fill(m + 4096, len - 4096, 9);
    pid_t kid = guest_is(argv, "forked") ? guest_fork(child) : 0;
    m = mremap(m, len, 2 * len, MREMAP_MAYMOVE);
    CHECK(m != MAP_FAILED);
    char *rest = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mremap(m + len + 8192, 8192, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, rest) == rest);
    signal(SIGBUS, on_bus);
    guest_ready();
    guest_verify("content", m + 4096, len - 4096, 9);
    char *beyond[] = {m + len, m + 2 * len - 1, rest};
    for (volatile int i = 0; i < 3; i++)
        if (sigsetjmp(env, 1) == 0) {
            *(volatile char *)beyond[i] = 1;
            guest_fail("write beyond the end, expected SIGBUS, got none");
        }
    m[100] = 'g';
    guest_note("asked");
    if (is_named)
        SYS(shm_unlink(name));
    if (kid) {
        guest_reap(kid, 0);
        CHECK_EQ("child's byte", 'h', m[101]);
    }
    return 0;
}
