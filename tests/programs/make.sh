#!/bin/bash
# make -j2 compiling C files with gcc.
. "$(dirname "$0")/common.sh"
have() { need make gcc; }
run() {
    for i in $(seq 70); do
        { for j in $(seq 40); do echo "int f${i}_$j(int x) { int s = 0; for (int i = 0; i < x; i++) s += i * $j ^ x; return s; }"; done; } > f$i.c
    done
    { for i in $(seq 70); do echo "int f${i}_1(int);"; done; echo 'int main(void) { return 0'; for i in $(seq 70); do echo "+ f${i}_1(0)"; done; echo '; }'; } > main.c
    printf 'prog: main.o $(patsubst %%.c,%%.o,$(wildcard f*.c))\n\tgcc -o $@ $^\n%%.o: %%.c\n\tgcc -O2 -c -o $@ $<\n' > Makefile
    exec make -j2
}
objects() { find . -name '*.o' | wc -l; }
some() { [ "$(objects)" -ge 4 ]; }
before() { await some; }
after() {
    was=$(objects)
    until [ "$(objects)" -gt "$was" ] || [ -x prog ]; do sleep 0.02; done
}
stop() { await test -x prog; ./prog; }
phase "$1"
