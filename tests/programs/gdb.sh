#!/bin/bash
# gdb attaches to a program, names its functions and variables, and lets it go on: before and after every restart.
. "$(dirname "$0")/common.sh"
program=seen$GUEST_UNIQUE
have() { need gcc gdb pgrep; }
run() {
    cat > job.c <<'C'
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
int landmark = 4711;
static void *waits_here(void *unused)
{
    for (;;)
        pause();
    return unused;
}
static void counts_here(void)
{
    for (long n = 1; access("stop", F_OK); n++) {
        FILE *f = fopen("count.new", "w");
        fprintf(f, "%ld", n);
        fclose(f);
        rename("count.new", "count");
        usleep(1000);
    }
}
int main(void)
{
    pthread_t thread;
    pthread_create(&thread, 0, waits_here, 0);
    counts_here();
    return 0;
}
C
    gcc -g -O0 -pthread -o "$program" job.c
    exec "./$program"
}
attaches() {
    timeout 60 gdb -nx -batch -iex 'set sysroot /' -p "$(pgrep -n -x "$program")" -ex 'thread apply all bt' -ex 'print landmark' > seen 2>&1 < /dev/null || fail "gdb: $(tail -3 seen)"
    for name in 'main ()' counts_here waits_here '= 4711'; do grep -qF -- "$name" seen || fail "gdb does not show $name: $(tail -20 seen)"; done
}
before() { await test -s count; attaches; grows count; }
after() { grows count; attaches; grows count; }
phase "$1"
