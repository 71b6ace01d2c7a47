// Extended attributes of files without a name: one that lost it, one that never had one.
// args: deleted never_named
#include "../guest.h"
#include <sys/xattr.h>
int main(int argc, char **argv)
{
    (void)argc;
    int named = guest_is(argv, "deleted");
    int fd = named ? SYS(open(PATH_OF("f"), O_CREAT | O_RDWR, 0604)) : open(guest_dir, O_TMPFILE | O_RDWR, 0604);
    char got[400], want[300];
    struct stat s;
    if (fd < 0 || fsetxattr(fd, "user.empty", "", 0, 0))
        SKIP("%s", strerror(errno));
    guest_fill(want, sizeof want, 5);
    SYS(fsetxattr(fd, "user.long", want, sizeof want, 0));
    SYS(write(fd, "data", 4));
    if (named)
        SYS(unlink(PATH_OF("f")));
    guest_ready();
    CHECK_EQ("empty", 0, SYS(fgetxattr(fd, "user.empty", got, sizeof got)));
    CHECK_EQ("long", 300, SYS(fgetxattr(fd, "user.long", got, sizeof got)));
    guest_verify("long", got, 300, 5);
    SYS(fstat(fd, &s));
    CHECK_EQ("mode", 0604, s.st_mode & 0777);
    return 0;
}
