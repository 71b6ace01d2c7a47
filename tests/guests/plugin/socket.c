// A connection to a server outside, that the program's plugin takes over and opens again after a restart.
#include "../guest.h"
#include "../../../include/ckpt/plugin.h"
// The server's name is known only here: see main.
#include "../../../examples/plugins/reconnect.c"
static int dial(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&server, sizeof server)) {
        close(fd);
        return -1;
    }
    return fd;
}
// Here it is a child, which is brought back too: its queue of connections is new.
static void serve(void)
{
    int l = SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), fd;
    SYS(bind(l, (struct sockaddr *)&server, sizeof server));
    SYS(listen(l, 8));
    while (!guest_going()) {
        struct pollfd p = {l, POLLIN, 0};
        if (poll(&p, 1, 5) == 1 && (fd = accept(l, NULL, NULL)) >= 0) {
            SYS(write(fd, "hello", 5));
            close(fd);
        }
    }
}
int main(void)
{
    char hello[6] = "";
    int conn = -1;
    snprintf(server.sun_path, sizeof server.sun_path, "%s/server", guest_dir);
    pid_t kid = guest_fork(serve);
    AWAIT((conn = dial()) >= 0);
    guest_ready();
    CHECK_EQ("hello", 5, read(conn, hello, 5));
    CHECK_STR("hello", "hello", hello);
    CHECK_EQ("reopened", ckpt_restarts() > 0 ? ckpt_restarts() : 0, dialled);
    guest_reap(kid, 0);
    return 0;
}
