// fork and exec in a loop while checkpoints come: by fork, vfork, posix_spawn and system.
// args: fork vfork spawn system popen
#include "../guest.h"
static volatile int stop;
static volatile long rounds;
static char **args;
static void once(void)
{
    static char *const av[] = {"sh", "-c", "exit 6", NULL};
    pid_t pid;
    char line[8] = "";
    if (guest_is(args, "system"))
        CHECK_EQ("system", 6 << 8, system("exit 6"));
    else if (guest_is(args, "popen")) {
        FILE *f = popen("echo hi", "r");
        CHECK(f != NULL);
        CHECK(fgets(line, sizeof line, f) != NULL);
        CHECK_STR("line", "hi\n", line);
        CHECK_EQ("pclose", 0, pclose(f));
    } else {
        if (guest_is(args, "spawn"))
            PT(posix_spawn(&pid, "/bin/sh", NULL, NULL, av, environ));
        else if ((pid = guest_is(args, "vfork") ? vfork() : fork()) == 0) {
            execv("/bin/sh", av);
            _exit(99);
        }
        guest_reap(SYS(pid), 6);
    }
}
static void *run(void *x)
{
    (void)x;
    while (!stop) {
        once();
        __sync_fetch_and_add(&rounds, 1);
    }
    return NULL;
}
int main(int argc, char **argv)
{
    (void)argc;
    args = argv;
    pthread_t a = guest_thread(run, NULL);
    AWAIT(rounds > 3);
    guest_ready();
    long before = rounds;
    AWAIT(rounds > before + 3);
    stop = 1;
    guest_join(a);
    return 0;
}
