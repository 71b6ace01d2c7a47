// stdio streams with unwritten and unread buffers.
#include "../guest.h"
int main(void)
{
    char line[32];
    FILE *w = fopen(PATH_OF("out"), "w"), *r = fopen(PATH_OF("in"), "w+");
    fputs("one\ntwo\nthree\n", r);
    rewind(r);
    CHECK(fgets(line, sizeof line, r));
    fputs("buffered ", w);
    guest_ready();
    CHECK(fgets(line, sizeof line, r));
    CHECK_STR("second line", "two\n", line);
    fputs("and more", w);
    CHECK_EQ("fclose", 0, fclose(w));
    CHECK(guest_read_text(PATH_OF("out"), line, sizeof line) == 17);
    CHECK_STR("file", "buffered and more", line);
    return 0;
}
