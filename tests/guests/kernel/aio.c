// Native AIO: a context made before is used after.
#include "../guest.h"
#include <linux/aio_abi.h>
int main(void)
{
    aio_context_t ctx = 0;
    char buf[512];
    if (syscall(SYS_io_setup, 8, &ctx))
        SKIP("io_setup: %s", strerror(errno));
    int fd = SYS(open(PATH_OF("file"), O_RDWR | O_CREAT, 0600));
    guest_fill(buf, sizeof buf, 1);
    CHECK_EQ("write", sizeof buf, write(fd, buf, sizeof buf));
    guest_ready();
    struct iocb cb = {.aio_fildes = fd, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_buf = (uintptr_t)buf, .aio_nbytes = 512},
                *list[1] = {&cb};
    struct io_event ev;
    memset(buf, 0, sizeof buf);
    CHECK_EQ("io_submit", 1, SYS(syscall(SYS_io_submit, ctx, 1, list)));
    CHECK_EQ("io_getevents", 1, SYS(syscall(SYS_io_getevents, ctx, 1, 1, &ev, NULL)));
    CHECK_EQ("result", 512, ev.res);
    guest_verify("content", buf, sizeof buf, 1);
    SYS(syscall(SYS_io_destroy, ctx));
    return 0;
}
