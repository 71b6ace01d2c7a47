// The program execs itself before, and again after, each time with its state passed on.
#include "../guest.h"
int main(int argc, char **argv)
{
    char pid[16];
    sprintf(pid, "%d", getpid());
    if (argc == 1)
        execl("/proc/self/exe", argv[0], "second", pid, NULL);
    CHECK_STR("pid across exec", pid, argv[2]);
    if (!strcmp(argv[1], "third"))
        return 0;
    guest_ready();
    execl("/proc/self/exe", argv[0], "third", pid, NULL);
    guest_fail("exec: %s", strerror(errno));
}
