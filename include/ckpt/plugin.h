/* plugin.h: a library that takes part in checkpoints, loaded by ckpt_launch --with-plugin.
 *
 *     static int at_event(struct ckpt_occasion *o, void *data) { ... return 0; }
 *     CKPT_PLUGIN("name", CKPT_BIT(CKPT_PRE_CHECKPOINT) | CKPT_BIT(CKPT_RESTART), at_event, 0)
 *
 * Build: cc -shared -fPIC -o libname.so name.c. Memory of its own is in the image as all memory is.
 */
#ifndef CKPT_PLUGIN_H
#define CKPT_PLUGIN_H

#include "ckpt.h"

#define CKPT_PLUGIN_VERSION 1u
#define CKPT_BIT(event) (1u << (event))

struct ckpt_plugin {
    unsigned version; /* CKPT_PLUGIN_VERSION */
    unsigned events;  /* CKPT_BIT of each that the callback is for */
    const char *name;
    ckpt_callback callback;
    void *data;
};

/* 0; -1: not under ckpt, another version, or 64 are registered. The strings and data must stay; the library does, whoever
 * calls dlclose. */
static inline int ckpt_register(const struct ckpt_plugin *plugin)
{
    return ckpt_found_.register_ ? ckpt_found_.register_(plugin) : -1;
}

#define CKPT_PLUGIN(name_, events_, callback_, data_)                                                                  \
    __attribute__((constructor)) static void ckpt_plugin_begins_(void)                                                \
    {                                                                                                                  \
        struct ckpt_plugin p = {CKPT_PLUGIN_VERSION, events_, name_, callback_, data_};                                \
        ckpt_register(&p);                                                                                             \
    }

#endif
