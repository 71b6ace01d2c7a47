// Streams of known bytes through pipes and socket pairs between processes, until go: nothing may be lost, doubled or
// reordered. argument: how many streams.
#include "../guests/guest.h"
enum { MOST = 4000, PAIRS = 10, CHUNK = 3000 };
static struct {
    volatile int stop, done;
    volatile uint64_t written[MOST], got[MOST];
} *shared;
static int count, ends[MOST][2];

static unsigned char next(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return *x >> 56;
}
// Streams are dealt out to the pairs of processes; what is not a process's own is closed.
static int is_mine(int stream, int pair) { return stream % PAIRS == pair; }
static void keep(int pair, int end)
{
    for (int i = 0; i < count; i++) {
        close(ends[i][!end]);
        if (!is_mine(i, pair))
            close(ends[i][end]);
    }
}
static void writer(int pair)
{
    uint64_t state[MOST], after;
    unsigned char buf[CHUNK];
    keep(pair, 1);
    for (int i = 0; i < count; i++)
        state[i] = i;
    for (unsigned turn = 1; !shared->stop; turn = turn * 1103515245 + 12345) {
        for (int i = pair; i < count; i += PAIRS) {
            int len = 1 + (turn >> 8) % CHUNK;
            after = state[i];
            for (int k = 0; k < len; k++)
                buf[k] = next(&after);
            len = write(ends[i][1], buf, len);
            if (len < 0 && errno == EAGAIN)
                continue;
            SYS(len);
            for (int k = 0; k < len; k++)
                next(&state[i]);
            shared->written[i] += len;
        }
        guest_nap();
    }
    __sync_add_and_fetch(&shared->done, 1);
    guest_await("end");
}
static void reader(int pair)
{
    uint64_t state[MOST];
    unsigned char buf[4 * CHUNK];
    keep(pair, 0);
    for (int i = 0; i < count; i++)
        state[i] = i;
    for (unsigned turn = 0, behind = 1; behind; turn++) {
        behind = shared->done < PAIRS;
        for (int i = pair; i < count; i += PAIRS) {
            // Some are read seldom, so that they fill.
            int n = !shared->stop && i % 7 == 3 && turn % 50 ? -1 : (errno = 0, read(ends[i][0], buf, sizeof buf));
            for (int k = 0; k < n; k++) {
                unsigned char want = next(&state[i]);
                if (buf[k] != want)
                    guest_fail("stream %d at byte %lu, expected %d, got %d", i, (long)shared->got[i] + k, want, buf[k]);
            }
            if (n > 0)
                shared->got[i] += n;
            behind |= shared->got[i] < shared->written[i];
        }
        guest_nap();
    }
    for (int i = pair; i < count; i += PAIRS) {
        CHECK_EQ("bytes of a stream", shared->written[i], shared->got[i]);
        CHECK_EQ("nothing more", -1, read(ends[i][0], buf, sizeof buf));
    }
}
static void make(int i)
{
    static const int types[3] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    int p[2];
    if (i % 2)
        SYS(pipe2(ends[i], O_NONBLOCK));
    else {
        SYS(socketpair(AF_UNIX, types[i / 2 % 3] | SOCK_NONBLOCK, 0, p));
        ends[i][0] = p[0], ends[i][1] = p[1];
    }
}
// A lease that somebody else's open(2) is breaking is found last: by then everything was read out and put back.
static void refuse_once(int round)
{
    char note[32];
    int fd = SYS(open(PATH_OF("leased"), O_RDONLY | O_CREAT, 0600));
    signal(SIGIO, SIG_IGN);
    SYS(fcntl(fd, F_SETLEASE, F_RDLCK));
    CHECK_EQ("breaks it", -1, open(PATH_OF("leased"), O_WRONLY | O_NONBLOCK));
    CHECK_EQ("errno", EWOULDBLOCK, errno);
    sprintf(note, "leased.%d", round), guest_note(note);
    sprintf(note, "release.%d", round), guest_await(note);
    SYS(fcntl(fd, F_SETLEASE, F_UNLCK));
    close(fd);
    sprintf(note, "released.%d", round), guest_note(note);
}
static int all_move(const uint64_t *before)
{
    for (int i = 0; i < count; i++)
        if (shared->got[i] <= before[i])
            return 0;
    return 1;
}
int main(int argc, char **argv)
{
    static uint64_t before[MOST];
    char note[32];
    pid_t kids[2 * PAIRS];
    struct rlimit r;
    count = argc > 1 ? atoi(argv[1]) : 1000;
    CHECK(count <= MOST);
    SYS(getrlimit(RLIMIT_NOFILE, &r));
    r.rlim_cur = r.rlim_max;
    SYS(setrlimit(RLIMIT_NOFILE, &r));
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < count; i++)
        make(i);
    for (int k = 0; k < 2 * PAIRS; k++)
        if ((kids[k] = SYS(fork())) == 0) {
            k % 2 ? writer(k / 2) : reader(k / 2);
            _exit(0);
        }
    for (int i = 0; i < count; i++)
        close(ends[i][0]), close(ends[i][1]);
    guest_note("ready");
    for (int ping = 1, lease = 1; !guest_noted("go"); guest_nap()) {
        sprintf(note, "lease.%d", lease);
        if (guest_noted(note))
            refuse_once(lease++);
        sprintf(note, "ping.%d", ping);
        if (guest_noted(note)) {
            for (int i = 0; i < count; i++)
                before[i] = shared->got[i];
            AWAIT(all_move(before));
            sprintf(note, "pong.%d", ping++), guest_note(note);
        }
    }
    shared->stop = 1;
    for (int k = 0; k < 2 * PAIRS; k += 2)
        guest_reap(kids[k], 0);
    guest_note("end");
    for (int k = 1; k < 2 * PAIRS; k += 2)
        guest_reap(kids[k], 0);
    uint64_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += shared->got[i];
    printf("%d streams, %.1f MB checked\n", count, sum / 1e6);
    return 0;
}
