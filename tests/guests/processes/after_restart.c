// What is new after go works: threads, fork, exec, popen, a grandchild, pids unlike the old ones.
#include "../guest.h"
static void *thread(void *x) { return x; }
static void exits(void) { _exit(5); }
static void nests(void) { guest_reap(guest_fork(exits), 5); }
int main(void)
{
    char line[16];
    pid_t before = getpid(), kid = guest_fork(exits);
    guest_reap(kid, 5);
    guest_ready();
    for (int i = 0; i < 10; i++) {
        CHECK_EQ("thread", i, guest_join(guest_thread(thread, (void *)(long)i)));
        pid_t pid = guest_fork(exits);
        CHECK(pid != before && pid > 0);
        guest_reap(pid, 5);
    }
    guest_reap(guest_fork(nests), 0);
    CHECK_EQ("system", 3 << 8, system("exit 3"));
    FILE *f = popen("echo hello", "r");
    CHECK(f && fgets(line, sizeof line, f));
    CHECK_STR("line", "hello\n", line);
    CHECK_EQ("pclose", 0, pclose(f));
    return 0;
}
