/* ckpt.h: what a program can ask of ckpt itself.
 *
 * Nothing is to be linked: the functions are in libckpt.so, which ckpt_launch loads, and are looked up when the program
 * starts. A program that was started without it runs as well; ckpt_enabled() is 0 then and everything else says -1. Any
 * thread may call them at any time; callbacks may call ckpt_take_fd, ckpt_take_path, ckpt_restarts, ckpt_status, ckpt_publish
 * and ckpt_lookup. (-ldl before glibc 2.34.)
 */
#ifndef CKPT_CKPT_H
#define CKPT_CKPT_H

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How ckpt_checkpoint ended. */
enum { CKPT_FAILED = -1, CKPT_RESUMED = 1, CKPT_RESTARTED = 2 };

/* The same events as in plugin.h. */
enum ckpt_event {
    CKPT_PRE_SUSPEND = 1,    /* other threads still run */
    CKPT_PRE_CHECKPOINT = 2, /* every thread stands still */
    CKPT_RESUME = 3,         /* they go on next; also after a checkpoint that failed */
    CKPT_RESTART = 4,        /* they go on next, in a process that was brought back */
    CKPT_FORK = 5,           /* in the child */
    CKPT_PRE_EXEC = 6,       /* the program is about to be replaced */
    CKPT_EXIT = 7            /* exit(3) */
};

struct ckpt_occasion {
    unsigned version;
    unsigned event;
    unsigned restarts;
    unsigned reason_len;
    char *reason; /* room for reason_len bytes: why the answer is not 0 */
};

/* Answers 0, or before a checkpoint something else: it is not made then, and *reason is what the user is told. */
typedef int (*ckpt_callback)(struct ckpt_occasion *occasion, void *data);

/* What ckpt_status tells. */
struct ckpt_status {
    unsigned size;            /* bytes of it that the library filled in: the rest is zero */
    unsigned restarts;        /* how often this process was brought back */
    unsigned generation;      /* newest complete checkpoint of the computation; 0: none yet */
    unsigned ready;           /* 1: ckpt_checkpoint would be heard */
    unsigned long long at_us; /* when that checkpoint was complete, since 1970; 0: before this restart */
    char computation[40];     /* the computation's id, as in the names of its images */
};

/* Null where the program does not run under ckpt. */
static struct {
    int (*enabled)(void);
    int (*checkpoint)(char *, size_t);
    int (*delay)(void);
    int (*allow)(void);
    int (*restarts)(void);
    int (*status)(struct ckpt_status *, size_t);
    int (*on)(unsigned, ckpt_callback, void *);
    int (*take_fd)(int);
    int (*take_path)(const char *, int *, unsigned);
    int (*publish)(const char *, const void *, size_t);
    int (*lookup)(const char *, void *, size_t, unsigned);
    int (*register_)(const void *);
} ckpt_found_;

#define CKPT_FIND_(field, name) *(void **)&ckpt_found_.field = dlsym((void *)0, name) /* RTLD_DEFAULT */

__attribute__((constructor(101))) static void ckpt_find_(void)
{
    CKPT_FIND_(enabled, "ckpt_enabled");
    CKPT_FIND_(checkpoint, "ckpt_checkpoint");
    CKPT_FIND_(delay, "ckpt_delay");
    CKPT_FIND_(allow, "ckpt_allow");
    CKPT_FIND_(restarts, "ckpt_restarts");
    CKPT_FIND_(status, "ckpt_status");
    CKPT_FIND_(on, "ckpt_on");
    CKPT_FIND_(take_fd, "ckpt_take_fd");
    CKPT_FIND_(take_path, "ckpt_take_path");
    CKPT_FIND_(publish, "ckpt_publish");
    CKPT_FIND_(lookup, "ckpt_lookup");
    CKPT_FIND_(register_, "ckpt_register");
}

/* 1: this process runs under ckpt. */
static inline int ckpt_enabled(void)
{
    return ckpt_found_.enabled ? ckpt_found_.enabled() : 0;
}

/* Checkpoints the whole computation and waits until the images are durable: CKPT_RESUMED. The same call returns
 * CKPT_RESTARTED in a process that was brought back from them. CKPT_FAILED: reason, of len bytes, says why. */
static inline int ckpt_checkpoint(char *reason, size_t len)
{
    if (ckpt_found_.checkpoint)
        return ckpt_found_.checkpoint(reason, len);
    if (len)
        snprintf(reason, len, "not started by ckpt_launch");
    return CKPT_FAILED;
}

/* Around what must not be torn apart. Counted, for the calling thread; a checkpoint waits some seconds and fails then. A
 * child that is forked in between must call ckpt_allow() too. */
static inline int ckpt_delay(void)
{
    return ckpt_found_.delay ? ckpt_found_.delay() : -1;
}

static inline int ckpt_allow(void)
{
    return ckpt_found_.allow ? ckpt_found_.allow() : -1;
}

/* How often this process was brought back. -1: not under ckpt. */
static inline int ckpt_restarts(void)
{
    return ckpt_found_.restarts ? ckpt_found_.restarts() : -1;
}

/* 0, and what there is to know at the moment. -1: not under ckpt, and all of *status is zero. */
static inline int ckpt_status(struct ckpt_status *status)
{
    memset(status, 0, sizeof *status);
    return ckpt_found_.status ? ckpt_found_.status(status, sizeof *status) : -1;
}

/* Has callback called at event. What it may do is in docs/PLUGINS.md: in short, system calls and memory of its own,
 * for 10 s at most: then it is left where it is. */
static inline int ckpt_on(enum ckpt_event event, ckpt_callback callback, void *data)
{
    return ckpt_found_.on ? ckpt_found_.on((unsigned)event, callback, data) : -1;
}

#define ckpt_on_checkpoint(callback, data) ckpt_on(CKPT_PRE_CHECKPOINT, callback, data)
#define ckpt_on_resume(callback, data) ckpt_on(CKPT_RESUME, callback, data)
#define ckpt_on_restart(callback, data) ckpt_on(CKPT_RESTART, callback, data)

/* In a CKPT_PRE_CHECKPOINT callback: descriptor fd is not captured; after a restart it is closed until the callback for
 * CKPT_RESTART opens it again, at the same number. */
static inline int ckpt_take_fd(int fd)
{
    return ckpt_found_.take_fd ? ckpt_found_.take_fd(fd) : -1;
}

/* The same for every descriptor that is open on path or, if that ends with a slash, below it. Their numbers go to fds, as
 * many as there is room for; the answer is how many there are, -1 as above. */
static inline int ckpt_take_path(const char *path, int *fds, unsigned room)
{
    return ckpt_found_.take_path ? ckpt_found_.take_path(path, fds, room) : -1;
}

/* For processes of the computation, on all its hosts, to tell each other what is new: ckpt_publish in one process, ckpt_lookup
 * in another, which waits up to patience_ms for it, at any time, also in a CKPT_RESTART callback. Names begin anew with every
 * restart. ckpt_publish is 0, ckpt_lookup the value's whole length; -1: no room (key 56, value 192 bytes, 512 keys), nobody
 * told, or not under ckpt. */
static inline int ckpt_publish(const char *key, const void *value, size_t len)
{
    return ckpt_found_.publish ? ckpt_found_.publish(key, value, len) : -1;
}

static inline int ckpt_lookup(const char *key, void *value, size_t len, unsigned patience_ms)
{
    return ckpt_found_.lookup ? ckpt_found_.lookup(key, value, len, patience_ms) : -1;
}

#ifdef __cplusplus
}
#endif
#endif
