// A child runs a #! script that runs other programs.
#include "../guest.h"
int main(void)
{
    char *path = PATH_OF("script"), out[64];
    FILE *f = fopen(path, "w");
    fprintf(f, "#!/bin/sh\ncd %s\n: > child\nwhile [ ! -e go ]; do sleep 0.01; done\necho $((6*7)) $(basename /a/b) > out\n",
            guest_dir);
    fclose(f);
    SYS(chmod(path, 0700));
    pid_t pid = SYS(fork());
    if (pid == 0) {
        execl(path, path, NULL);
        _exit(99);
    }
    guest_await("child");
    guest_ready();
    guest_reap(pid, 0);
    CHECK(guest_read_text(PATH_OF("out"), out, sizeof out) > 0);
    CHECK_STR("output", "42 b\n", out);
    return 0;
}
