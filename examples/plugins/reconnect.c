/* A connection to a server outside that a plugin takes over: it is closed with the checkpoint's kill and opened again, at the
 * same number, before the program goes on from the image. RECONNECT_TO names the server's UNIX socket; the plugin finds the
 * program's connections to it by itself, and dials once more for each.
 *
 *     cc -shared -fPIC -I include -o libreconnect.so examples/plugins/reconnect.c
 *     RECONNECT_TO=/run/server.sock ckpt_launch --with-plugin ./libreconnect.so ./a.out
 */
#define _GNU_SOURCE
#include <ckpt/plugin.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un server = {.sun_family = AF_UNIX};
static int mine[16], count, dialled;

/* Only system calls, in the stopped process. */
static int at_event(struct ckpt_occasion *o, void *data)
{
    struct sockaddr_un peer;

    (void)data;
    if (o->event == CKPT_PRE_CHECKPOINT) {
        count = 0;
        for (int fd = 3; fd < 1024 && count < 16; fd++) {
            socklen_t len = sizeof peer;
            memset(&peer, 0, sizeof peer);
            if (!getpeername(fd, (struct sockaddr *)&peer, &len) && !strcmp(peer.sun_path, server.sun_path))
                ckpt_take_fd(mine[count++] = fd);
        }
        return 0;
    }
    for (int i = 0; i < count; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server))
            return 1;
        if (fd != mine[i]) {
            dup3(fd, mine[i], O_CLOEXEC);
            close(fd);
        }
        dialled++;
    }
    return 0;
}

/* Constructors run before the program: getenv may be used here. */
__attribute__((constructor(102))) static void remember(void)
{
    const char *to = getenv("RECONNECT_TO");
    strncpy(server.sun_path, to ? to : "/nowhere", sizeof server.sun_path - 1);
}

CKPT_PLUGIN("reconnect", CKPT_BIT(CKPT_PRE_CHECKPOINT) | CKPT_BIT(CKPT_RESTART), at_event, NULL)
