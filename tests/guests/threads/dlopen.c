// A library opened before is used and closed after; another is opened after.
#include "../guest.h"
#include <dlfcn.h>
int main(void)
{
    void *m = dlopen("libresolv.so.2", RTLD_NOW);
    if (!m)
        SKIP("no libresolv.so.2");
    int (*ns)(const char *, unsigned char *, size_t) = dlsym(m, "ns_name_pton");
    guest_ready();
    unsigned char wire[64];
    if (ns)
        CHECK_EQ("ns_name_pton", 0, ns("a.b", wire, sizeof wire));
    CHECK_EQ("dlclose", 0, dlclose(m));
    void *t = dlopen("libanl.so.1", RTLD_NOW);
    CHECK(t != NULL);
    CHECK_EQ("dlclose", 0, dlclose(t));
    return 0;
}
