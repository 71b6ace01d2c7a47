// PR_SET_NAME of main and a program started under another argv[0].
#include "../guest.h"
int main(void)
{
    char got[32], path[64], text[64];
    SYS(prctl(PR_SET_NAME, "renamed"));
    guest_ready();
    SYS(prctl(PR_GET_NAME, got));
    CHECK_STR("name", "renamed", got);
    sprintf(path, "/proc/%d/comm", getpid());
    CHECK(guest_read_text(path, text, sizeof text) > 0);
    CHECK_STR("comm", "renamed\n", text);
    CHECK_STR("short name", program_invocation_short_name, "names_prctl");
    return 0;
}
