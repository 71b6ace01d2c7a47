// What a shared map may be made later: one that was mapped to write and is read-only meanwhile, and one that was never.
// args: file memfd deleted named sysv anonymous undumpable
#include "../guest.h"
enum { LEN = 8192 };
static int writable(char *m)
{
    int answer = mprotect(m, LEN, PROT_READ | PROT_WRITE) ? errno : 0;
    SYS(mprotect(m, LEN, PROT_READ));
    return answer;
}
static char *view(int fd, int rights)
{
    char *m = mmap(NULL, LEN, rights, MAP_SHARED, fd, 0);
    CHECK(m != MAP_FAILED);
    return m;
}
int main(int argc, char **argv)
{
    char *closed = NULL, *opened, *reader = NULL, name[64], link[64];
    int fd = -1, id = -1, is_named = guest_is(argv, "named");
    (void)argc;
    if (guest_is(argv, "sysv")) {
        id = SYS(shmget(IPC_PRIVATE, LEN, IPC_CREAT | 0600));
        opened = shmat(id, NULL, 0);
        closed = shmat(id, NULL, 0);
        reader = shmat(id, NULL, SHM_RDONLY);
        SYS(shmctl(id, IPC_RMID, NULL));
        SYS(mprotect(closed, LEN, PROT_NONE));
    } else if (guest_is(argv, "anonymous") || guest_is(argv, "undumpable")) {
        opened = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    } else {
        if (guest_is(argv, "memfd"))
            fd = SYS(memfd_create("rights", MFD_CLOEXEC));
        else if (is_named)
            fd = SYS(shm_open(guest_object(name, "rights"), O_RDWR | O_CREAT, 0600));
        else
            fd = SYS(open(PATH_OF("file"), O_RDWR | O_CREAT, 0600));
        SYS(ftruncate(fd, LEN));
        sprintf(link, "/proc/self/fd/%d", fd);
        int only = SYS(open(link, O_RDONLY | O_CLOEXEC));
        opened = view(fd, PROT_READ | PROT_WRITE);
        closed = view(fd, PROT_READ);
        reader = view(only, PROT_READ);
        if (guest_is(argv, "deleted"))
            SYS(unlink(PATH_OF("file")));
        else
            close(only);
        if (!guest_is(argv, "memfd"))
            close(fd);
    }
    if (guest_is(argv, "undumpable"))
        SYS(prctl(PR_SET_DUMPABLE, 0));
    strcpy(opened, "before");
    SYS(mprotect(opened, LEN, PROT_READ));
    if (reader)
        CHECK_EQ("a reader's map before", EACCES, writable(reader));
    guest_ready();
    if (id >= 0)
        CHECK(guest_faults(closed));
    CHECK_STR("content", "before", opened);
    CHECK_EQ("was mapped to write", 0, writable(opened));
    if (closed)
        CHECK_EQ("could be", 0, writable(closed));
    if (reader)
        CHECK_EQ("a reader's map", EACCES, writable(reader));
    SYS(mprotect(opened, LEN, PROT_READ | PROT_WRITE));
    strcpy(opened, "after");
    if (closed)
        CHECK_STR("the same memory", "after", closed);
    if (is_named)
        SYS(shm_unlink(name));
    return 0;
}
