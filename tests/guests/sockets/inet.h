// IPv4 sockets on the loopback interface.
#include "../guest.h"
GUEST_FN struct sockaddr_in lo(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return a;
}
GUEST_FN void name_of(int fd, struct sockaddr_in *a)
{
    socklen_t len = sizeof *a;
    SYS(getsockname(fd, (void *)a, &len));
}
// bind, and the port that it got.
GUEST_FN void take_name(int fd, struct sockaddr_in *a)
{
    SYS(bind(fd, (void *)a, sizeof *a));
    name_of(fd, a);
}
GUEST_FN int bound(int type, struct sockaddr_in *a)
{
    int fd = SYS(socket(AF_INET, type, 0));
    take_name(fd, a);
    return fd;
}
GUEST_FN int listening(struct sockaddr_in *a)
{
    int fd = bound(SOCK_STREAM, a);
    SYS(listen(fd, 5));
    return fd;
}
GUEST_FN int client_of(const struct sockaddr_in *a)
{
    int fd = SYS(socket(AF_INET, SOCK_STREAM, 0));
    SYS(connect(fd, (void *)a, sizeof *a));
    return fd;
}
// A listener, and a client and a server that it has accepted.
GUEST_FN void connected(int *l, int *c, int *s)
{
    struct sockaddr_in a = lo();
    *l = listening(&a);
    *c = client_of(&a);
    *s = SYS(accept(*l, NULL, NULL));
}
GUEST_FN int opt(int fd, int level, int name)
{
    int v = 0;
    socklen_t n = sizeof v;
    SYS(getsockopt(fd, level, name, &v, &n));
    return v;
}
GUEST_FN void set(int fd, int level, int name, int v) { SYS(setsockopt(fd, level, name, &v, sizeof v)); }
