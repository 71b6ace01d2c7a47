// A popen stream and a child of system stay open over the checkpoint.
#include "../guest.h"
static void *in_system(void *x)
{
    char cmd[256];
    (void)x;
    sprintf(cmd, ": > %s/sys; while [ ! -e %s/go ]; do sleep 0.01; done; exit 5", guest_dir, guest_dir);
    CHECK_EQ("system", 5 << 8, system(cmd));
    return NULL;
}
int main(void)
{
    char line[32];
    pthread_t t = guest_thread(in_system, NULL);
    guest_await("sys");
    FILE *r = popen("echo one; echo two; exit 4", "r"), *w = popen("read a; read b; [ $a$b = 12 ]", "w");
    CHECK(r && w);
    CHECK(fgets(line, sizeof line, r));
    fprintf(w, "1\n");
    fflush(w);
    guest_ready();
    CHECK(fgets(line, sizeof line, r));
    CHECK_STR("line", "two\n", line);
    CHECK_EQ("pclose", 4 << 8, pclose(r));
    fprintf(w, "2\n");
    CHECK_EQ("pclose", 0, pclose(w));
    guest_join(t);
    return 0;
}
