// On each processor that the thread may use, one after the other.
static void on_each_processor(void (*check)(int processor))
{
    cpu_set_t all, one;
    SYS(sched_getaffinity(0, sizeof all, &all));
    for (int c = 0; c < CPU_SETSIZE; c++) {
        if (!CPU_ISSET(c, &all))
            continue;
        CPU_ZERO(&one);
        CPU_SET(c, &one);
        SYS(sched_setaffinity(0, sizeof one, &one));
        check(c);
    }
    SYS(sched_setaffinity(0, sizeof all, &all));
}
