/* A plugin that refuses a checkpoint while the file named by NO_CHECKPOINT exists.
 *
 *     cc -shared -fPIC -I include -o libveto.so examples/plugins/veto.c
 */
#include <ckpt/plugin.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[4096];

static int at_event(struct ckpt_occasion *occasion, void *data)
{
    (void)data;
    if (!path[0] || access(path, F_OK))
        return 0;
    strncpy(occasion->reason, path, occasion->reason_len - 9);
    strcat(occasion->reason, " exists");
    return 1;
}

/* Libraries' constructors run before the program: getenv and malloc may be used here. */
__attribute__((constructor(102))) static void remember(void)
{
    const char *from = getenv("NO_CHECKPOINT");
    strncpy(path, from ? from : "", sizeof path - 1);
}

CKPT_PLUGIN("veto", CKPT_BIT(CKPT_PRE_SUSPEND), at_event, 0)
