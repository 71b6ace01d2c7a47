// Nearly as many maps as the kernel allows come back; one for each number there is leaves a restart none.
// args: near full
#include "../guest.h"
enum { OURS = 16 };
static int maps(void)
{
    char buf[65536];
    int n, lines = 0, fd = SYS(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
    while ((n = read(fd, buf, sizeof buf)) > 0)
        for (int i = 0; i < n; i++)
            lines += buf[i] == '\n';
    close(fd);
    return lines;
}
int main(int argc, char **argv)
{
    char text[32];
    (void)argc;
    CHECK(guest_read_text("/proc/sys/vm/max_map_count", text, sizeof text) > 0);
    long most = atol(text), made = 0;
    if (most > 200000)
        SKIP("vm.max_map_count is %ld", most);
    char *m = mmap(NULL, most * 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(m != MAP_FAILED);
    long wanted = guest_is(argv, "near") ? (most - OURS - maps()) / 2 : most;
    while (made < wanted && !mprotect(m + made * 8192, 4096, PROT_READ | PROT_WRITE)) {
        *(long *)(m + made * 8192) = made;
        made++;
    }
    if (guest_is(argv, "full"))
        guest_refused("mappings where vm.max_map_count allows");
    else
        CHECK_EQ("maps", most - OURS, (maps() + 1) & ~1);
    guest_ready();
    for (long i = 0; i < made; i++)
        CHECK_EQ("content", i, *(long *)(m + i * 8192));
    return 0;
}
