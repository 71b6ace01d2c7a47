#!/bin/bash
# A C program with OpenMP threads at full speed.
. "$(dirname "$0")/common.sh"
have() { need gcc; }
run() {
    cat > job.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
    for (long n = 1; access("stop", F_OK); n++) {
        long sum = 0;
#pragma omp parallel for reduction(+ : sum) num_threads(4)
        for (long i = 0; i < 100000; i++)
            sum += i % 7;
        if (sum != 299995)
            return fprintf(stderr, "expected 299995, got %ld\n", sum), 1;
        FILE *f = fopen("count.new", "w");
        fprintf(f, "%ld", n);
        fclose(f);
        rename("count.new", "count");
    }
    return 0;
}
C
    gcc -O1 -fopenmp -o job job.c
    exec ./job
}
phase "$1"
