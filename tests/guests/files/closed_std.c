// Standard input is closed and standard output is another file.
#include "../guest.h"
int main(void)
{
    close(0);
    int fd = SYS(open(PATH_OF("out"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    CHECK_EQ("lowest descriptor", 0, fd);
    SYS(dup2(fd, 1));
    close(0);
    guest_ready();
    CHECK_EQ("standard input", -1, fcntl(0, F_GETFD));
    CHECK_EQ("cloexec of the copy", 0, fcntl(1, F_GETFD));
    CHECK_EQ("write", 2, write(1, "hi", 2));
    char buf[8];
    CHECK_EQ("file", 2, guest_read_text(PATH_OF("out"), buf, sizeof buf));
    return 0;
}
