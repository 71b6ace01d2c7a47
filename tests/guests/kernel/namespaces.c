// A process in a namespace of its own finds it again, or the checkpoint refuses and says why.
// args: uts ipc net mnt pid user time
#include "../guest.h"
#include <sys/mount.h>
static long ns_of(const char *name)
{
    char path[64], link[64] = "";
    sprintf(path, "/proc/self/ns/%s", name);
    SYS(readlink(path, link, sizeof link - 1));
    char *at = strchr(link, '[');
    return at ? atol(at + 1) : 0;
}
int main(int argc, char **argv)
{
    const char *names[] = {"uts", "ipc", "net", "mnt", "pid_for_children", "user", "time_for_children", "cgroup"};
    int flags[] = {CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, 0x80, CLONE_NEWCGROUP};
    int which = -1;
    for (int i = 0; i < 8; i++)
        if (argc > 1 && !strncmp(argv[1], names[i], strlen(argv[1])))
            which = i;
    if (which < 0)
        SKIP("needs the name of a namespace");
    long before = ns_of(names[which]);
    if (unshare(flags[which]))
        SKIP("unshare: %s", strerror(errno));
    if (guest_is(argv, "uts"))
        SYS(sethostname("guest-host", 10));
    if (guest_is(argv, "mnt")) {
        SYS(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        SYS(mount("tmpfs", "/mnt", "tmpfs", 0, NULL));
        close(SYS(open("/mnt/here", O_CREAT | O_RDWR, 0600)));
    }
    pid_t kid = 0;
    if (guest_is(argv, "pid")) {
        kid = guest_fork(guest_await_go);
    }
    guest_ready();
    CHECK(ns_of(names[which]) != before);
    if (guest_is(argv, "uts")) {
        char name[65];
        SYS(gethostname(name, sizeof name));
        CHECK_STR("hostname", "guest-host", name);
    }
    if (guest_is(argv, "mnt"))
        SYS(access("/mnt/here", F_OK));
    if (kid)
        guest_reap(kid, 0);
    return 0;
}
