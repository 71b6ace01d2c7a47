// A process-shared mutex, condition and semaphore in shared memory, hammered by parent and child.
#include "../guest.h"
static struct shared {
    pthread_mutex_t m;
    pthread_cond_t c;
    sem_t s;
    long sum, turn, mine[2];
    int stop;
} *sh;
static void work(int me)
{
    PT(pthread_mutex_lock(&sh->m));
    while (!sh->stop) {
        while (sh->turn != me && !sh->stop)
            PT(pthread_cond_wait(&sh->c, &sh->m));
        sh->sum++;
        sh->mine[me]++;
        sh->turn = !me;
        PT(pthread_cond_signal(&sh->c));
    }
    PT(pthread_mutex_unlock(&sh->m));
    SYS(sem_post(&sh->s));
}
static void child(void) { work(1); }
static void *thread(void *x)
{
    work(0);
    return x;
}
int main(void)
{
    sh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t ma;
    pthread_condattr_t ca;
    PT(pthread_mutexattr_init(&ma));
    PT(pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED));
    PT(pthread_condattr_init(&ca));
    PT(pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED));
    PT(pthread_mutex_init(&sh->m, &ma));
    PT(pthread_cond_init(&sh->c, &ca));
    SYS(sem_init(&sh->s, 1, 0));
    pid_t kid = guest_fork(child);
    pthread_t t = guest_thread(thread, NULL);
    AWAIT(*(volatile long *)&sh->mine[1] > 5);
    guest_ready();
    long before = *(volatile long *)&sh->mine[1];
    AWAIT(*(volatile long *)&sh->mine[1] > before + 5);
    PT(pthread_mutex_lock(&sh->m));
    sh->stop = 1;
    PT(pthread_cond_broadcast(&sh->c));
    PT(pthread_mutex_unlock(&sh->m));
    guest_join(t);
    guest_reap(kid, 0);
    SYS(sem_wait(&sh->s));
    SYS(sem_wait(&sh->s));
    CHECK_EQ("sum", sh->mine[0] + sh->mine[1], sh->sum);
    return 0;
}
