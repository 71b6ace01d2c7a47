// A directory stream goes on where it was; openat and fchdir through a held descriptor.
#include "../guest.h"
enum { N = 300 };
int main(void)
{
    char name[64], seen[N] = {0};
    SYS(mkdir(PATH_OF("d"), 0700));
    for (int i = 0; i < N; i++) {
        sprintf(name, "d/f%d", i);
        guest_note(name);
    }
    DIR *d = opendir(PATH_OF("d"));
    int dfd = SYS(open(PATH_OF("d"), O_RDONLY | O_DIRECTORY)), count = 0;
    struct dirent *e;
    for (int i = 0; i < 100 && (e = readdir(d)); i++)
        if (e->d_name[0] == 'f')
            seen[atoi(e->d_name + 1)]++;
    guest_ready();
    while ((e = readdir(d)))
        if (e->d_name[0] == 'f')
            seen[atoi(e->d_name + 1)]++;
    for (int i = 0; i < N; i++)
        CHECK_EQ("times an entry was seen", 1, seen[i]);
    rewinddir(d);
    while (readdir(d))
        count++;
    CHECK_EQ("entries", N + 2, count);
    close(SYS(openat(dfd, "f7", O_RDONLY)));
    SYS(fchdir(dfd));
    SYS(access("f8", F_OK));
    closedir(d);
    return 0;
}
