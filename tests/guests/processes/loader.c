// A program that was started through the dynamic loader by name, and a child of it.
#include "../guest.h"
static const char LOADER[] = "/lib64/ld-linux-x86-64.so.2";
static char own[256];
static void start(const char *as)
{
    execl(LOADER, LOADER, own, as, own, NULL);
    guest_fail("exec: %s", strerror(errno));
}
static void is_loaded(void)
{
    char exe[256] = "";
    SYS(readlink("/proc/self/exe", exe, sizeof exe - 1));
    CHECK(strstr(exe, "/ld-linux") || strstr(exe, "/ld-2"));
}
static void child(void) { start("child"); }
int main(int argc, char **argv)
{
    if (argc == 1) {
        SYS(readlink("/proc/self/exe", own, sizeof own - 1));
        start("again");
    }
    strcpy(own, argv[2]);
    is_loaded();
    if (guest_is(argv, "child")) {
        guest_note("child");
        guest_await_go();
        is_loaded();
        return 0;
    }
    pid_t kid = guest_fork(child);
    guest_await("child");
    guest_ready();
    is_loaded();
    CHECK_STR("argument", "again", argv[1]);
    guest_reap(kid, 0);
    return 0;
}
