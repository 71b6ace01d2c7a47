// Named pipes: only read, only written, read-write, never opened by a writer, unlinked with data, replaced by another of its name, in two processes.
// args: reader writer both idle unlinked unlinked_both replaced moved
#include "../guest.h"
int main(int argc, char **argv)
{
    (void)argc;
    char buf[64];
    struct stat st, now;
    SYS(mkfifo(PATH_OF("f"), 0640));
    int rw = SYS(open(PATH_OF("f"), O_RDWR)), r = SYS(open(PATH_OF("f"), O_RDONLY | O_NONBLOCK)), w = SYS(open(PATH_OF("f"), O_WRONLY));
    SYS(write(w, "data", 4));
    SYS(fstat(rw, &st));
    if (guest_is(argv, "reader")) {
        close(rw), close(w);
        guest_ready();
        CHECK_EQ("read", 4, SYS(read(r, buf, 64)));
        CHECK_EQ("end", 0, SYS(read(r, buf, 64)));
        w = SYS(open(PATH_OF("f"), O_WRONLY));
        CHECK_EQ("empty", -1, read(r, buf, 64));
        SYS(write(w, "again", 5));
        CHECK_EQ("read", 5, SYS(read(r, buf, 64)));
    } else if (guest_is(argv, "writer")) {
        signal(SIGPIPE, SIG_IGN);
        close(rw), close(r);
        guest_ready();
        CHECK_EQ("nobody reads", -1, write(w, "x", 1));
        CHECK_EQ("error", EPIPE, (write(w, "x", 1), errno));
        r = SYS(open(PATH_OF("f"), O_RDONLY | O_NONBLOCK));
        CHECK_EQ("write", 1, write(w, "x", 1));
    } else if (guest_is(argv, "both")) {
        close(r), close(w);
        guest_ready();
        CHECK_EQ("access", O_RDWR, fcntl(rw, F_GETFL) & O_ACCMODE);
        CHECK_EQ("read", 4, SYS(read(rw, buf, 64)));
        SYS(write(rw, "more", 4));
        CHECK_EQ("read", 4, SYS(read(rw, buf, 64)));
    } else if (guest_is(argv, "idle")) {
        SYS(mkfifo(PATH_OF("g"), 0600));
        int g = SYS(open(PATH_OF("g"), O_RDONLY | O_NONBLOCK));
        struct pollfd p = {g, POLLIN, 0};
        guest_ready();
        CHECK_EQ("no writer came yet", 0, poll(&p, 1, 0));
        CHECK_EQ("read", 0, read(g, buf, 1));
    } else if (guest_is(argv, "unlinked") || guest_is(argv, "unlinked_both")) {
        SYS(unlink(PATH_OF("f")));
        if (guest_is(argv, "unlinked_both"))
            close(r), close(w), r = w = rw;
        guest_ready();
        CHECK_EQ("no file", -1, access(PATH_OF("f"), F_OK));
        SYS(fstat(r, &now));
        CHECK_EQ("type and mode", st.st_mode, now.st_mode);
        CHECK_EQ("links", 0, now.st_nlink);
        SYS(write(w, "more", 4));
        CHECK_EQ("read", 8, SYS(read(r, buf, 64)));
    } else if (guest_is(argv, "replaced")) {
        SYS(unlink(PATH_OF("f")));
        SYS(mkfifo(PATH_OF("f"), 0600));
        int other = SYS(open(PATH_OF("f"), O_RDWR | O_NONBLOCK));
        SYS(write(other, "other", 5));
        guest_ready();
        CHECK_EQ("the first", 4, SYS(read(r, buf, 64)));
        CHECK_EQ("the other", 5, SYS(read(other, buf, 64)));
        SYS(write(w, "x", 1));
        CHECK_EQ("still two", -1, read(other, buf, 64));
        CHECK_EQ("the first", 1, SYS(read(r, buf, 64)));
    } else {
        SYS(rename(PATH_OF("f"), PATH_OF("h")));
        guest_ready();
        CHECK_EQ("read", 4, SYS(read(r, buf, 64)));
        int more = SYS(open(PATH_OF("h"), O_WRONLY | O_NONBLOCK));
        SYS(write(more, "x", 1));
        CHECK_EQ("read", 1, SYS(read(r, buf, 64)));
    }
    return 0;
}
