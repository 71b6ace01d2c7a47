// Native AIO: two contexts, one with events that nobody has taken.
#include "../guest.h"
#include <linux/aio_abi.h>
int main(void)
{
    aio_context_t idle = 0, ctx = 0;
    char text[6] = "abcdef";
    struct iocb cb[3], *list[3];
    struct io_event ev[3];
    if (syscall(SYS_io_setup, 4, &idle) || syscall(SYS_io_setup, 300, &ctx))
        SKIP("io_setup: %s", strerror(errno));
    int fd = SYS(open(PATH_OF("file"), O_RDWR | O_CREAT, 0600));
    for (int i = 0; i < 3; i++) {
        cb[i] = (struct iocb){.aio_fildes = fd, .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_buf = (uintptr_t)text,
                              .aio_nbytes = i + 1, .aio_data = 100 + i};
        list[i] = &cb[i];
    }
    CHECK_EQ("io_submit", 3, SYS(syscall(SYS_io_submit, ctx, 3, list)));
    CHECK_EQ("first event", 1, SYS(syscall(SYS_io_getevents, ctx, 1, 1, ev, NULL)));
    guest_ready();
    CHECK_EQ("other events", 2, SYS(syscall(SYS_io_getevents, ctx, 2, 3, ev, NULL)));
    for (int i = 0; i < 2; i++) {
        CHECK_EQ("result", ev[i].data - 99, ev[i].res);
        CHECK_EQ("request", (uintptr_t)&cb[ev[i].data - 100], ev[i].obj);
    }
    CHECK_EQ("submit to the other", 3, SYS(syscall(SYS_io_submit, idle, 3, list)));
    CHECK_EQ("its events", 3, SYS(syscall(SYS_io_getevents, idle, 3, 3, ev, NULL)));
    SYS(syscall(SYS_io_destroy, idle));
    SYS(syscall(SYS_io_destroy, ctx));
    return 0;
}
