/* Processes that tell each other their new addresses after a restart, before any of them runs: each publishes its own
 * and looks up its neighbour's. Here the address is a pid; it might be a port that had to change.
 *
 *     cc -I include -o addresses examples/plugins/addresses.c
 */
#include <ckpt/plugin.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define PROCESSES 4
static int own, told;
static pid_t neighbour;

/* No stdio here: a name is made by hand. */
static const char *name_of(int process)
{
    static char name[] = "process-?";
    name[8] = (char)('0' + process);
    return name;
}

static int at_restart(struct ckpt_occasion *occasion, void *data)
{
    pid_t self = getpid();

    (void)occasion, (void)data;
    if (ckpt_publish(name_of(own), &self, sizeof self) < 0)
        return 1;
    told += ckpt_lookup(name_of((own + 1) % PROCESSES), &neighbour, sizeof neighbour, 5000) == sizeof neighbour;
    return 0;
}

CKPT_PLUGIN("addresses", CKPT_BIT(CKPT_RESTART), at_restart, 0)

#ifndef ADDRESSES_NO_MAIN
int main(void)
{
    for (own = 0; own < PROCESSES - 1; own++)
        if (fork() == 0)
            break;
    for (int seen = 0;; usleep(100000))
        if (told > seen) {
            seen = told;
            printf("process %d: my neighbour is %d now\n", own, (int)neighbour);
            fflush(stdout);
        }
}
#endif
