// A piece of an area that goes elsewhere and comes back where it was, so that the kernel makes one mapping of it and its
// neighbours again. Pages are written in between; each holds what was written last.
#include "../guest.h"
enum { PG = 4096, PIECE = 128, PAGES = 3 * PIECE };
static char *area, *away, *piece;
static uint64_t tags[PAGES];

static char *at(unsigned page)
{
    return page / PIECE == 1 ? piece + (size_t)(page - PIECE) * PG : area + (size_t)page * PG;
}
static void write_all(unsigned from, unsigned step, uint64_t tag)
{
    for (unsigned p = from; p < PAGES; p += step)
        *(uint64_t *)at(p) = tags[p] = tag << 16 | p;
}
static void verify(void)
{
    for (unsigned p = 0; p < PAGES; p++)
        if (*(uint64_t *)at(p) != tags[p])
            guest_fail("page %u, expected %#lx, got %#lx", p, tags[p], *(uint64_t *)at(p));
}
static void move(void)
{
    char *home = area + (size_t)PIECE * PG, *to = piece == home ? away : home;
    CHECK(mremap(piece, (size_t)PIECE * PG, (size_t)PIECE * PG, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
    piece = to;
}
static char *fresh(size_t pages)
{
    char *p = mmap(NULL, pages * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}
int main(void)
{
    char note[32];
    area = fresh(PAGES + 1);
    SYS(mprotect(area + (size_t)PAGES * PG, PG, PROT_NONE));
    away = fresh(PIECE + 1);
    SYS(mprotect(away + (size_t)PIECE * PG, PG, PROT_NONE));
    // Something that stays as it is: an incremental image has little to hold.
    memset(fresh(PIECE), 1, (size_t)PIECE * PG);
    piece = area + (size_t)PIECE * PG;
    write_all(0, 1, 1);
    move();
    guest_note("ready");
    for (unsigned round = 1; !guest_noted("go"); guest_nap()) {
        sprintf(note, "ping.%u", round);
        if (!guest_noted(note))
            continue;
        verify();
        if (round % 3)
            move();
        write_all(round % 2, 2, round + 1);
        sprintf(note, "pong.%u", round++);
        guest_note(note);
    }
    verify();
    return 0;
}
