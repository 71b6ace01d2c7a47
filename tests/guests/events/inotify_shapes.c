// inotify: unread events of every kind in order, a watched file, a moved and a deleted target, one-shot, a full queue, in epoll.
// args: unread rescan moved deleted file oneshot overflow epoll cookie
#include "../guest.h"
static char buf[1 << 20] __attribute__((aligned(8)));
static int at, have;
static struct inotify_event *next(int fd)
{
    if (at >= have)
        at = 0, have = SYS(read(fd, buf, sizeof buf));
    struct inotify_event *e = (void *)(buf + at);
    at += sizeof *e + e->len;
    return e;
}
int main(int argc, char **argv)
{
    (void)argc;
    struct inotify_event *e;
    SYS(mkdir(PATH_OF("d"), 0700));
    guest_note("d/f");
    int fd = SYS(inotify_init1(IN_NONBLOCK)), d = SYS(inotify_add_watch(fd, PATH_OF("d"), IN_CREATE | IN_DELETE | IN_MOVE | IN_DELETE_SELF | IN_MOVE_SELF)), f;
    if (guest_is(argv, "unread")) {
        guest_note("d/one"), guest_note("d/a much longer name than that");
        SYS(unlink(PATH_OF("d/one")));
        guest_ready();
        guest_note("d/two");
        e = next(fd);
        CHECK_EQ("mask", IN_CREATE, e->mask); CHECK_STR("name", "one", e->name); CHECK_EQ("watch", d, e->wd);
        e = next(fd);
        CHECK_EQ("mask", IN_CREATE, e->mask); CHECK_STR("name", "a much longer name than that", e->name);
        e = next(fd);
        CHECK_EQ("mask", IN_DELETE, e->mask); CHECK_STR("name", "one", e->name);
        e = next(fd);
        CHECK_EQ("mask", IN_CREATE, e->mask); CHECK_STR("name", "two", e->name);
        CHECK_EQ("nothing more", -1, read(fd, buf, sizeof buf));
    } else if (guest_is(argv, "rescan")) {
        // The program is told of what it has missed, by the events or by a word that some are lost, and of what comes.
        guest_note("d/one");
        guest_ready();
        guest_note("d/two");
        e = next(fd);
        if (e->mask == IN_Q_OVERFLOW) {
            CHECK_EQ("watch", -1, e->wd);
            CHECK_EQ("length", 0, e->len);
        } else {
            CHECK_EQ("mask", IN_CREATE, e->mask); CHECK_STR("name", "one", e->name);
        }
        e = next(fd);
        CHECK_EQ("mask", IN_CREATE, e->mask); CHECK_STR("name", "two", e->name); CHECK_EQ("watch", d, e->wd);
        CHECK_EQ("nothing more", -1, read(fd, buf, sizeof buf));
        CHECK(SYS(inotify_add_watch(fd, PATH_OF("d/two"), IN_MODIFY)) > d);
    } else if (guest_is(argv, "cookie")) {
        SYS(rename(PATH_OF("d/f"), PATH_OF("d/g")));
        guest_ready();
        e = next(fd);
        CHECK_EQ("mask", IN_MOVED_FROM, e->mask); CHECK_STR("name", "f", e->name);
        uint32_t cookie = e->cookie;
        CHECK(cookie != 0);
        e = next(fd);
        CHECK_EQ("mask", IN_MOVED_TO, e->mask); CHECK_STR("name", "g", e->name); CHECK_EQ("cookie", cookie, e->cookie);
    } else if (guest_is(argv, "moved")) {
        SYS(rename(PATH_OF("d"), PATH_OF("e")));
        while (read(fd, buf, sizeof buf) > 0) {
        }
        guest_ready();
        guest_note("e/new");
        e = next(fd);
        CHECK_EQ("mask", IN_CREATE, e->mask); CHECK_STR("name", "new", e->name); CHECK_EQ("watch", d, e->wd);
    } else if (guest_is(argv, "deleted")) {
        // The watched file is deleted but open: its watch lives on.
        int o = SYS(open(PATH_OF("d/f"), O_RDWR));
        f = SYS(inotify_add_watch(fd, PATH_OF("d/f"), IN_MODIFY | IN_DELETE_SELF));
        SYS(unlink(PATH_OF("d/f")));
        while (read(fd, buf, sizeof buf) > 0) {
        }
        guest_ready();
        SYS(write(o, "x", 1));
        e = next(fd);
        CHECK_EQ("mask", IN_MODIFY, e->mask); CHECK_EQ("watch", f, e->wd);
        close(o);
        e = next(fd);
        CHECK_EQ("mask", IN_DELETE_SELF, e->mask); CHECK_EQ("watch", f, e->wd);
    } else if (guest_is(argv, "file")) {
        f = SYS(inotify_add_watch(fd, PATH_OF("d/f"), IN_MODIFY | IN_ATTRIB | IN_OPEN | IN_CLOSE));
        guest_ready();
        int o = SYS(open(PATH_OF("d/f"), O_RDWR));
        e = next(fd);
        CHECK_EQ("mask", IN_OPEN, e->mask); CHECK_EQ("watch", f, e->wd);
        SYS(write(o, "x", 1)), SYS(fchmod(o, 0640)), close(o);
        e = next(fd);
        CHECK_EQ("mask", IN_MODIFY, e->mask);
        e = next(fd);
        CHECK_EQ("mask", IN_ATTRIB, e->mask);
        e = next(fd);
        CHECK_EQ("mask", IN_CLOSE_WRITE, e->mask);
    } else if (guest_is(argv, "oneshot")) {
        SYS(mkdir(PATH_OF("once"), 0700));
        f = SYS(inotify_add_watch(fd, PATH_OF("once"), IN_CREATE | IN_ONESHOT | IN_ONLYDIR | IN_EXCL_UNLINK));
        guest_ready();
        guest_note("once/a"), guest_note("once/b");
        e = next(fd);
        CHECK_EQ("mask", IN_CREATE, e->mask); CHECK_STR("name", "a", e->name); CHECK_EQ("watch", f, e->wd);
        e = next(fd);
        CHECK_EQ("mask", IN_IGNORED, e->mask);
        CHECK_EQ("only once", -1, read(fd, buf, sizeof buf));
    } else if (guest_is(argv, "overflow")) {
        char name[32];
        int n = 0;
        for (int i = 0; i < 20000; i++)
            sprintf(name, "%s/d/%d", guest_dir, i % 2 ? 7 : 8), i < 2 || i % 4 < 2 ? (void)mknod(name, S_IFREG | 0600, 0) : (void)unlink(name);
        guest_ready();
        do
            e = next(fd), n++;
        while (!(e->mask & IN_Q_OVERFLOW));
        CHECK_EQ("watch", -1, e->wd);
    } else {
        int ep = SYS(epoll_create1(0));
        struct epoll_event ev = {.events = EPOLLIN, .data.u32 = 5};
        SYS(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
        guest_note("d/queued");
        guest_ready();
        CHECK_EQ("ready", 1, epoll_wait(ep, &ev, 1, 0));
        e = next(fd);
        CHECK_STR("name", "queued", e->name);
        CHECK_EQ("empty", 0, epoll_wait(ep, &ev, 1, 0));
    }
    return 0;
}
