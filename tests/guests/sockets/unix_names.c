// UNIX sockets by name: relative, unlinked, autobound, renamed, bound only, long names, their listener gone.
// args: relative unlinked autobind renamed bound long accepted
#include "../guest.h"
static socklen_t name_of(int fd, struct sockaddr_un *a)
{
    socklen_t len = sizeof *a;
    memset(a, 0, sizeof *a);
    SYS(getsockname(fd, (void *)a, &len));
    return len;
}
int main(int argc, char **argv)
{
    (void)argc;
    struct sockaddr_un a = {.sun_family = AF_UNIX}, before, after, peer;
    socklen_t alen = sizeof a, len;
    char buf[8];
    int s = SYS(socket(AF_UNIX, SOCK_STREAM, 0)), c = SYS(socket(AF_UNIX, SOCK_STREAM, 0)), n = -1;
    SYS(chdir(guest_dir));
    if (guest_is(argv, "autobind"))
        alen = sizeof(sa_family_t);
    else if (guest_is(argv, "relative"))
        mkdir("sub", 0700), strcpy(a.sun_path, "sub/rel");
    else if (guest_is(argv, "long"))
        memset(a.sun_path, 'n', sizeof a.sun_path);
    else
        guest_path(a.sun_path, "sock");
    SYS(bind(s, (void *)&a, alen));
    len = name_of(s, &before);
    if (!guest_is(argv, "bound"))
        SYS(listen(s, 5));
    if (guest_is(argv, "accepted")) {
        // The listener is closed and its name taken by another one.
        SYS(connect(c, (void *)&before, len));
        n = SYS(accept(s, NULL, NULL));
        close(s);
        SYS(unlink(a.sun_path));
        s = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
        SYS(bind(s, (void *)&a, alen));
        SYS(listen(s, 2));
        SYS(send(c, "q", 1, 0));
    }
    if (guest_is(argv, "unlinked"))
        SYS(unlink(a.sun_path));
    if (guest_is(argv, "renamed"))
        SYS(rename(a.sun_path, PATH_OF("moved")));
    guest_ready();
    CHECK_EQ("length of the name", len, name_of(s, &after));
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    if (guest_is(argv, "bound"))
        SYS(listen(s, 5));
    if (guest_is(argv, "unlinked")) {
        struct stat st;
        CHECK_EQ("connect", -1, connect(c, (void *)&a, alen));
        CHECK_EQ("stat", -1, stat(a.sun_path, &st));
        return 0;
    }
    if (n >= 0) {
        name_of(n, &after);
        CHECK(memcmp(&before, &after, sizeof before) == 0);
        socklen_t l = sizeof peer;
        SYS(getpeername(c, (void *)&peer, &l));
        CHECK_STR("peer", before.sun_path, peer.sun_path);
        CHECK_EQ("recv", 1, recv(n, buf, 8, 0));
        close(c);
        c = SYS(socket(AF_UNIX, SOCK_STREAM, 0));
    }
    if (guest_is(argv, "renamed")) {
        CHECK_EQ("connect to the old name", -1, connect(c, (void *)&a, alen));
        guest_path(before.sun_path, "moved");
        len = sizeof before;
    }
    SYS(connect(c, (void *)&before, len < sizeof before ? len : sizeof before));
    n = SYS(accept(s, NULL, NULL));
    CHECK_EQ("send", 2, send(n, "ok", 2, 0));
    CHECK_EQ("recv", 2, recv(c, buf, 8, 0));
    return 0;
}
