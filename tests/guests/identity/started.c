// When a process began (field 22 of /proc/PID/stat): Java and psutil take a process for another one when that changes.
#include "../guest.h"

static unsigned long long field_22(const char *text)
{
    const char *at = strrchr(text, ')');
    CHECK(at);
    for (int field = 2; field < 22; field++) {
        at = strchr(at + 1, ' ');
        CHECK(at);
    }
    return strtoull(at, NULL, 10);
}

// By both ways that programs read it, and through a descriptor that stays open.
static unsigned long long started(pid_t pid, int kept)
{
    char path[40], text[1024] = "";
    snprintf(path, sizeof path, pid ? "/proc/%d/stat" : "/proc/self/stat", pid);
    int fd = SYS(open(path, O_RDONLY));
    CHECK(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    unsigned long long by_read = field_22(text);
    FILE *f = fopen(path, "r");
    CHECK(f && fgets(text, sizeof text, f));
    fclose(f);
    CHECK(field_22(text) == by_read);
    if (kept >= 0) {
        SYS(lseek(kept, 0, SEEK_SET));
        CHECK(read(kept, text, sizeof text - 1) > 0);
        CHECK(field_22(text) == by_read);
    }
    return by_read;
}

int main(void)
{
    int go[2], kept = SYS(open("/proc/self/stat", O_RDONLY));
    SYS(pipe(go));
    pid_t parent = getpid(), child = SYS(fork());
    if (child == 0) {
        char c;
        close(go[1]);
        unsigned long long own = started(0, -1), theirs = started(parent, -1);
        CHECK(read(go[0], &c, 1) == 0);
        CHECK(started(0, -1) == own && started(getpid(), -1) == own && started(parent, -1) == theirs);
        _exit(0);
    }
    close(go[0]);
    unsigned long long own = started(0, kept), theirs = started(child, -1);
    guest_ready();
    CHECK(started(0, kept) == own && started(parent, -1) == own && started(child, -1) == theirs);
    // One that is new is no older than the restart.
    pid_t fresh = SYS(fork());
    if (fresh == 0) {
        pause();
        _exit(0);
    }
    CHECK(started(fresh, -1) >= own);
    SYS(kill(fresh, SIGKILL));
    SYS(waitpid(fresh, NULL, 0));
    close(go[1]);
    int status;
    CHECK(SYS(waitpid(child, &status, 0)) == child && status == 0);
    return 0;
}
