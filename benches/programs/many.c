/* many STATS COUNT [threads]: COUNT children, or threads, that wait; notes in STATS when all are there. */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void *wait_here(void *unused)
{
    for (;;)
        pause();
    return unused;
}

int main(int argc, char **argv)
{
    int fd = open(argv[1], O_RDWR);
    volatile uint64_t *beats = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int count = atoi(argv[2]), threads = argc > 3 && !strcmp(argv[3], "threads");
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        if (threads ? pthread_create(&thread, 0, wait_here, 0) : 0)
            return 1;
        if (!threads && fork() == 0)
            wait_here(0);
    }
    for (;;) {
        struct timespec t = {0, 1000000};
        nanosleep(&t, 0);
        *beats += 1000;
    }
}
