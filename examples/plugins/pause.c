/* A plugin that sleeps at each event and says so on standard error; timings.jsonl says how long each took.
 *
 *     cc -shared -fPIC -I include -o libpause.so examples/plugins/pause.c
 *     ckpt_launch --with-plugin ./libpause.so ./a.out
 */
#include <ckpt/plugin.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const words[] = {"", "pre-suspend", "pre-checkpoint", "resume", "restart", "fork", "pre-exec", "exit"};

/* System calls and memory of its own, nothing else: the program's threads may hold any lock of libc's. */
static int at_event(struct ckpt_occasion *occasion, void *data)
{
    const struct timespec *nap = data;
    char line[64] = "pause: ";

    strcat(line, words[occasion->event]);
    strcat(line, "\n");
    if (write(2, line, strlen(line)) < 0)
        return 0;
    nanosleep(nap, NULL);
    return 0;
}

static struct timespec tenth = {0, 100000000};

CKPT_PLUGIN("pause",
            CKPT_BIT(CKPT_PRE_SUSPEND) | CKPT_BIT(CKPT_PRE_CHECKPOINT) | CKPT_BIT(CKPT_RESUME) | CKPT_BIT(CKPT_RESTART) |
                CKPT_BIT(CKPT_FORK) | CKPT_BIT(CKPT_PRE_EXEC) | CKPT_BIT(CKPT_EXIT),
            at_event, &tenth)
