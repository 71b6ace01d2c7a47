// inotify: watches with their numbers, events unread and events after.
#include "../guest.h"
static struct inotify_event *next(int fd, char *buf)
{
    CHECK(SYS(read(fd, buf, 300)) > 0);
    return (void *)buf;
}
int main(void)
{
    char buf[4096] __attribute__((aligned(8)));
    SYS(mkdir(PATH_OF("d"), 0700));
    SYS(mkdir(PATH_OF("e"), 0700));
    int fd = SYS(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), a = SYS(inotify_add_watch(fd, PATH_OF("d"), IN_CREATE)),
        b = SYS(inotify_add_watch(fd, PATH_OF("e"), IN_CREATE | IN_DELETE)), gone = SYS(inotify_add_watch(fd, guest_dir, IN_MODIFY));
    SYS(inotify_rm_watch(fd, a));
    a = SYS(inotify_add_watch(fd, PATH_OF("d"), IN_CREATE));
    SYS(inotify_rm_watch(fd, gone));
    while (read(fd, buf, sizeof buf) > 0) {
    }
    guest_note("d/unread");
    guest_ready();
    struct inotify_event *e = next(fd, buf);
    CHECK_EQ("watch", a, e->wd);
    CHECK_EQ("mask", IN_CREATE, e->mask);
    CHECK_STR("name", "unread", e->name);
    guest_note("e/new");
    e = next(fd, buf);
    CHECK_EQ("watch", b, e->wd);
    CHECK_STR("name", "new", e->name);
    SYS(unlink(PATH_OF("e/new")));
    e = next(fd, buf);
    CHECK_EQ("mask", IN_DELETE, e->mask);
    SYS(inotify_rm_watch(fd, a));
    e = next(fd, buf);
    CHECK_EQ("mask", IN_IGNORED, e->mask);
    return 0;
}
