// POSIX shared memory, named and already unlinked.
#include "../guest.h"
int main(void)
{
    int a = SYS(shm_open(OBJECT("a"), O_RDWR | O_CREAT, 0600)), b = SYS(shm_open(OBJECT("b"), O_RDWR | O_CREAT, 0600));
    SYS(ftruncate(a, 8192));
    SYS(ftruncate(b, 8192));
    char *ma = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0),
         *mb = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, b, 0);
    guest_fill(ma, 8192, 1);
    guest_fill(mb, 8192, 2);
    SYS(shm_unlink(OBJECT("b")));
    close(b);
    guest_ready();
    guest_verify("named", ma, 8192, 1);
    guest_verify("unlinked", mb, 8192, 2);
    int c = SYS(shm_open(OBJECT("a"), O_RDWR, 0));
    char *mc = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, c, 0);
    mc[0] = 'c';
    CHECK_EQ("seen through the other map", 'c', ma[0]);
    mb[0] = 1;
    CHECK_EQ("unlinked name", -1, shm_open(OBJECT("b"), O_RDWR, 0));
    SYS(shm_unlink(OBJECT("a")));
    return 0;
}
