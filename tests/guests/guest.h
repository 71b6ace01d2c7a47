// What every guest shares: how it says ready, hears go, and reports.
//
// ready, ping and go are empty files in $GUEST_DIR, made with mknod and looked for with access: no descriptor is
// held or opened, so the state under test is not disturbed and the means survives a restart.
#ifndef GUEST_H
#define GUEST_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define GUEST_FN static inline __attribute__((unused))

extern char **environ;
static char guest_dir[80];

GUEST_FN __attribute__((noreturn, format(printf, 1, 2))) void guest_fail(const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    int n = snprintf(line, sizeof line, "FAIL: ");
    n += vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    if (n > (int)sizeof line - 2)
        n = sizeof line - 2;
    line[n++] = '\n';
    if (write(2, line, n) < 0) {
    }
    syscall(SYS_exit_group, 1);
    __builtin_unreachable();
}

#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        if (!(cond))                                                                                                   \
            guest_fail("line %d: expected %s (%s)", __LINE__, #cond, strerror(errno));                                 \
    } while (0)
#define CHECK_EQ(what, want, got)                                                                                      \
    do {                                                                                                               \
        long long want_ = (long long)(want), got_ = (long long)(got);                                                  \
        if (want_ != got_)                                                                                             \
            guest_fail("line %d: %s, expected %lld, got %lld", __LINE__, what, want_, got_);                           \
    } while (0)
#define CHECK_STR(what, want, got)                                                                                     \
    do {                                                                                                               \
        const char *want_ = (want), *got_ = (got);                                                                     \
        if (strcmp(want_, got_))                                                                                       \
            guest_fail("line %d: %s, expected \"%s\", got \"%s\"", __LINE__, what, want_, got_);                       \
    } while (0)
// The value of a call that must not return -1.
#define SYS(expr)                                                                                                      \
    ({                                                                                                                 \
        long long r_ = (long long)(expr);                                                                              \
        if (r_ == -1)                                                                                                  \
            guest_fail("line %d: %s: %s", __LINE__, #expr, strerror(errno));                                           \
        r_;                                                                                                            \
    })
// A pthread call that must return 0.
#define PT(expr)                                                                                                       \
    do {                                                                                                               \
        int r_ = (expr);                                                                                               \
        if (r_)                                                                                                        \
            guest_fail("line %d: %s: %s", __LINE__, #expr, strerror(r_));                                              \
    } while (0)
#define SKIP(...)                                                                                                      \
    do {                                                                                                               \
        fprintf(stderr, "SKIP: " __VA_ARGS__);                                                                         \
        fputc('\n', stderr);                                                                                           \
        _exit(77);                                                                                                     \
    } while (0)

GUEST_FN __attribute__((constructor)) void guest_start(void)
{
    const char *dir = getenv("GUEST_DIR");
    snprintf(guest_dir, sizeof guest_dir, "%s", dir ? dir : ".");
}

GUEST_FN char *guest_path(char *buf, const char *name)
{
    sprintf(buf, "%s/%s", guest_dir, name);
    return buf;
}
#define PATH_OF(name) guest_path((char[256]){0}, name)

// Notes are how the processes of a guest and the harness tell each other how far they are.
GUEST_FN void guest_note(const char *name)
{
    char path[256];
    if (mknod(guest_path(path, name), S_IFREG | 0644, 0) && errno != EEXIST)
        guest_fail("mknod %s: %s", path, strerror(errno));
}
GUEST_FN int guest_noted(const char *name)
{
    char path[256];
    return access(guest_path(path, name), F_OK) == 0;
}
GUEST_FN void guest_nap(void)
{
    int saved = errno;
    struct timespec ms = {0, 2000000};
    nanosleep(&ms, NULL);
    errno = saved;
}
GUEST_FN void guest_await(const char *name)
{
    while (!guest_noted(name))
        guest_nap();
}
#define AWAIT(cond)                                                                                                    \
    while (!(cond))                                                                                                    \
    guest_nap()

// Says ready, answers the harness's pings (it asks after each resume and restart) and returns at go.
GUEST_FN void guest_ready(void)
{
    char ping[32], pong[32];
    guest_note("ready");
    for (int round = 1; !guest_noted("go");) {
        sprintf(ping, "ping.%d", round);
        if (guest_noted(ping)) {
            sprintf(pong, "pong.%d", round++);
            if (guest_noted(pong))
                guest_fail("%s was answered before: an older checkpoint came back", pong);
            guest_note(pong);
        }
        guest_nap();
    }
}
// Checkpoints of this guest are to be refused, with these words in the message.
GUEST_FN void guest_refused(const char *words)
{
    char path[256];
    int fd = SYS(open(guest_path(path, "refused"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    CHECK(write(fd, words, strlen(words)) == (ssize_t)strlen(words));
    close(fd);
}
// Does reading there fault?
static sigjmp_buf guest_after_fault;
GUEST_FN void guest_on_fault(int s)
{
    (void)s;
    siglongjmp(guest_after_fault, 1);
}
GUEST_FN int guest_faults(volatile char *at)
{
    struct sigaction mine = {.sa_handler = guest_on_fault}, before;
    SYS(sigaction(SIGSEGV, &mine, &before));
    int fault = sigsetjmp(guest_after_fault, 1);
    if (!fault)
        (void)*at;
    SYS(sigaction(SIGSEGV, &before, NULL));
    return fault;
}
// For the other threads and processes of a guest.
GUEST_FN void guest_await_go(void) { guest_await("go"); }
GUEST_FN int guest_going(void) { return guest_noted("go"); }

GUEST_FN pthread_t guest_thread(void *(*run)(void *), void *arg)
{
    pthread_t t;
    PT(pthread_create(&t, NULL, run, arg));
    return t;
}
GUEST_FN void *guest_join(pthread_t t)
{
    void *value;
    PT(pthread_join(t, &value));
    return value;
}
// Threads, numbered from 0, that count themselves in *ready when they have their state; says ready, and joins them.
GUEST_FN void guest_crowd(int n, void *(*run)(void *), volatile int *ready)
{
    pthread_t t[n];
    for (long i = 0; i < n; i++)
        t[i] = guest_thread(run, (void *)i);
    AWAIT(*ready == n);
    guest_ready();
    for (int i = 0; i < n; i++)
        guest_join(t[i]);
}
GUEST_FN void guest_reap(pid_t pid, int code)
{
    int status;
    CHECK_EQ("waitpid", pid, SYS(waitpid(pid, &status, 0)));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        guest_fail("child %d, expected exit %d, got status %#x", pid, code, status);
}
// fork that runs a function and exits 0.
GUEST_FN pid_t guest_fork(void (*run)(void))
{
    fflush(NULL);
    pid_t pid = SYS(fork());
    if (pid == 0) {
        run();
        _exit(0);
    }
    return pid;
}
GUEST_FN int guest_read_text(const char *path, char *buf, int size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), n, len = 0;
    if (fd < 0)
        return -1;
    while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
        len += n;
    buf[len] = 0;
    close(fd);
    return len;
}
// Copies of a library that are mapped: the code of files whose path has this in it.
GUEST_FN int guest_libraries(const char *name)
{
    char line[512];
    int found = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    CHECK(f);
    while (fgets(line, sizeof line, f))
        found += strstr(line, name) && strstr(line, "r-xp");
    fclose(f);
    return found;
}
GUEST_FN char guest_state(pid_t tid)
{
    char path[64], buf[512];
    sprintf(path, "/proc/%d/stat", tid);
    if (guest_read_text(path, buf, sizeof buf) <= 0)
        return 0;
    char *p = strrchr(buf, ')');
    return p ? p[2] : 0;
}
// Waits until a task sleeps in the system call.
GUEST_FN void guest_await_in(pid_t tid, long nr)
{
    char path[64], buf[256];
    sprintf(path, "/proc/%d/syscall", tid);
    AWAIT(guest_read_text(path, buf, sizeof buf) > 0 && isdigit(buf[0]) && atol(buf) == nr);
}
GUEST_FN void guest_fill(void *buf, size_t len, unsigned seed)
{
    unsigned char *p = buf;
    unsigned x = seed * 2654435761u + 1;
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = x >> 24;
    }
}
GUEST_FN void guest_verify(const char *what, const void *buf, size_t len, unsigned seed)
{
    const unsigned char *p = buf;
    unsigned x = seed * 2654435761u + 1;
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525u + 1013904223u;
        if (p[i] != (unsigned char)(x >> 24))
            guest_fail("%s at byte %zu, expected %#x, got %#x", what, i, x >> 24, p[i]);
    }
}
// A number of this run's own, from the harness: keys and names of system-wide objects are made of it.
GUEST_FN int guest_unique(void)
{
    const char *s = getenv("GUEST_UNIQUE");
    return s ? atoi(s) : getpid();
}
GUEST_FN key_t guest_key(int n) { return 0x43000000 | guest_unique() << 4 | n; }
GUEST_FN char *guest_object(char *buf, const char *name)
{
    sprintf(buf, "/ckpt-guest-%d-%s", guest_unique(), name);
    return buf;
}
#define OBJECT(name) guest_object((char[64]){0}, name)
GUEST_FN int guest_is(char **argv, const char *variant) { return argv[1] && !strcmp(argv[1], variant); }
#endif
