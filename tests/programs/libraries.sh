#!/bin/bash
# A program with libraries of its own, whose folder LD_LIBRARY_PATH names, relative to where it starts: ckpt_restart does not
# have that variable.
. "$(dirname "$0")/common.sh"
have() { need gcc; }
run() {
    mkdir libs
    for n in one two; do
        echo "static __thread int calls; int $n(void) { return ++calls; }" > $n.c
        gcc -shared -fPIC -Wl,-soname,lib$n.so.1 -o libs/lib$n.so.1.0 $n.c
        ln -s lib$n.so.1.0 libs/lib$n.so.1
        ln -s lib$n.so.1 libs/lib$n.so
    done
    cat > job.c <<'C'
#include <stdio.h>
#include <unistd.h>
int one(void), two(void);
int main(void)
{
    while (access("stop", F_OK)) {
        int n = one();
        if (two() != n)
            return 1;
        FILE *f = fopen("count.new", "w");
        fprintf(f, "%d", n);
        fclose(f);
        rename("count.new", "count");
        usleep(1000);
    }
    return 0;
}
C
    gcc -o job job.c -Llibs -lone -ltwo
    export LD_LIBRARY_PATH=nowhere:./libs
    exec ./job
}
phase "$1"
