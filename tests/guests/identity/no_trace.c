// No thread, descriptor, tracer or environment variable of the tool shows.
#include "../guest.h"
static int entries(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    CHECK(d != NULL);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}
static void look(int fds)
{
    char buf[8192];
    CHECK_EQ("descriptors", fds, entries("/proc/self/fd"));
    CHECK_EQ("threads", 3, entries("/proc/self/task"));
    CHECK(guest_read_text("/proc/self/status", buf, sizeof buf) > 0);
    CHECK_EQ("TracerPid", 0, atoi(strstr(buf, "TracerPid:") + 10));
    for (char **e = environ; *e; e++)
        if (!strncmp(*e, "CKPT", 4) || !strncmp(*e, "LD_PRELOAD", 10) || !strncmp(*e, "DMTCP", 5))
            guest_fail("environment, expected nothing of the tool, got %s", *e);
    CHECK_EQ("getenv", 1, getenv("LD_PRELOAD") == NULL);
    // The lowest free descriptor is the one a program expects.
    int fd = SYS(dup(0));
    CHECK_EQ("next descriptor", 3, fd);
    close(fd);
    CHECK_EQ("children", -1, waitpid(-1, NULL, WNOHANG | __WALL));
}
int main(void)
{
    look(6);
    guest_ready();
    look(6);
    return 0;
}
