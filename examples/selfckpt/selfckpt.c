/* Counts to N and checkpoints itself every M steps: selfckpt N M. Start it with ckpt_launch, or without.
 * cc -I include -o selfckpt examples/selfckpt/selfckpt.c */
#include <ckpt/ckpt.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    long last = argc > 1 ? atol(argv[1]) : 10, every = argc > 2 ? atol(argv[2]) : 5;
    char why[256];

    for (long step = 1; step <= last; step++) {
        if (!ckpt_enabled() || step % every)
            continue;
        int how = ckpt_checkpoint(why, sizeof why);
        if (how == CKPT_FAILED)
            fprintf(stderr, "step %ld: no checkpoint: %s\n", step, why);
        else
            printf("step %ld: %s\n", step, how == CKPT_RESTARTED ? "restarted" : "resumed");
        fflush(stdout);
    }
    printf("done at %ld after %d restarts\n", last, ckpt_restarts() < 0 ? 0 : ckpt_restarts());
    return 0;
}
