// A connection to a server outside, that the program's plugin takes over and opens again after a restart.
#include "../guest.h"
#include "../../../include/ckpt/plugin.h"
static int conn = -1, reopened;
static struct sockaddr_un server = {.sun_family = AF_UNIX};
// Only system calls, in the stopped process.
static int dial(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server))
        return -1;
    if (conn >= 0 && fd != conn) {
        dup3(fd, conn, O_CLOEXEC);
        close(fd);
        fd = conn;
    }
    return fd;
}
static int at_event(struct ckpt_occasion *o, void *data)
{
    (void)data;
    if (conn < 0)
        return 0; // the child
    if (o->event == CKPT_PRE_CHECKPOINT)
        return ckpt_take_fd(conn);
    reopened++;
    return dial() < 0;
}
CKPT_PLUGIN("socket", CKPT_BIT(CKPT_PRE_CHECKPOINT) | CKPT_BIT(CKPT_RESTART), at_event, NULL)
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
    snprintf(server.sun_path, sizeof server.sun_path, "%s/server", guest_dir);
    pid_t kid = guest_fork(serve);
    AWAIT((conn = dial()) >= 0);
    guest_ready();
    CHECK_EQ("hello", 5, read(conn, hello, 5));
    CHECK_STR("hello", "hello", hello);
    CHECK_EQ("reopened", ckpt_restarts() > 0 ? ckpt_restarts() : 0, reopened);
    guest_reap(kid, 0);
    return 0;
}
