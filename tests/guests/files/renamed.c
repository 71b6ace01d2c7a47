// A file renamed after it was opened, and one replaced by another of the same name.
#include "../guest.h"
int main(void)
{
    char buf[16] = {0};
    int a = SYS(open(PATH_OF("a"), O_RDWR | O_CREAT, 0600)), b = SYS(open(PATH_OF("b"), O_RDWR | O_CREAT, 0600)), c;
    CHECK_EQ("write", 3, write(a, "aaa", 3));
    CHECK_EQ("write", 3, write(b, "bbb", 3));
    SYS(rename(PATH_OF("a"), PATH_OF("moved")));
    c = SYS(open(PATH_OF("c"), O_RDWR | O_CREAT, 0600));
    CHECK_EQ("write", 3, write(c, "ccc", 3));
    SYS(rename(PATH_OF("c"), PATH_OF("b")));
    guest_ready();
    CHECK_EQ("pread", 3, pread(a, buf, 3, 0));
    CHECK_STR("moved", "aaa", buf);
    CHECK_EQ("pread", 3, pread(b, buf, 3, 0));
    CHECK_STR("replaced", "bbb", buf);
    CHECK_EQ("pread", 3, pread(c, buf, 3, 0));
    CHECK_STR("new", "ccc", buf);
    CHECK_EQ("write", 1, write(a, "!", 1));
    CHECK_EQ("length", 4, guest_read_text(PATH_OF("moved"), buf, sizeof buf));
    CHECK_STR("file", "aaa!", buf);
    CHECK_EQ("length", 3, guest_read_text(PATH_OF("b"), buf, sizeof buf));
    CHECK_STR("file", "ccc", buf);
    return 0;
}
