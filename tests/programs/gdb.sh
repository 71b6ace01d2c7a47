#!/bin/bash
# gdb -batch running a program.
. "$(dirname "$0")/common.sh"
have() { need gdb gcc; }
run() {
    cat > j.c <<'C'
#include <stdio.h>
#include <unistd.h>
int n;
int main(void)
{
    for (; access("stop", 0); usleep(1000)) {
        FILE *f = fopen("count.new", "w");
        fprintf(f, "%d", ++n);
        fclose(f);
        rename("count.new", "count");
    }
}
C
    gcc -g -o j j.c
    exec gdb -batch -ex run ./j
}
phase "$1"
