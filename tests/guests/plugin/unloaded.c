// A library with a plugin in it that the program loads by dlopen and unloads: its callback is still called, and there.
// plugin: examples/plugins/pause.c
#include "../guest.h"
#include "../../../include/ckpt/ckpt.h"
int main(int argc, char **argv)
{
    char line[600];
    (void)argc;
    // ckpt_launch has loaded it already: a second one, under another name.
    snprintf(line, sizeof line, "cp %.280s.plugin.so %s/own.so", argv[0], guest_dir);
    CHECK_EQ("copied", 0, system(line));
    void *own = dlopen(PATH_OF("own.so"), RTLD_NOW);
    if (!own)
        guest_fail("%s", dlerror());
    CHECK_EQ("closed", 0, dlclose(own));
    CHECK_EQ("stays where it registered", ckpt_enabled(), guest_libraries("/own.so"));
    guest_ready();
    CHECK_EQ("stays", ckpt_enabled(), guest_libraries("/own.so"));
    return 0;
}
