#!/bin/bash
# Four Open MPI processes that pass messages and sum up, over shared memory.
. "$(dirname "$0")/common.sh"
mpi=${MPI:-openmpi}
have() { need mpicc.$mpi mpirun.$mpi gcc; }
run() {
    cat > job.c <<'C'
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    int rank, size, end = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    double *big = calloc(20000, sizeof *big), *got = calloc(20000, sizeof *big);
    for (long n = 1; !end; n++) {
        long sum = 0, mine = n * (rank + 1);
        MPI_Allreduce(&mine, &sum, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
        if (sum != n * size * (size + 1) / 2)
            return fprintf(stderr, "sum %ld in turn %ld\n", sum, n), 1;
        big[0] = n, big[19999] = rank;
        MPI_Sendrecv(big, 20000, MPI_DOUBLE, (rank + 1) % size, 0, got, 20000, MPI_DOUBLE, (rank + size - 1) % size, 0,
                     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (got[0] != n || got[19999] != (rank + size - 1) % size)
            return fprintf(stderr, "message %g %g in turn %ld\n", got[0], got[19999], n), 1;
        if (!rank) {
            FILE *f = fopen("count.new", "w");
            fprintf(f, "%ld", n);
            fclose(f);
            rename("count.new", "count");
            end = !access("stop", F_OK);
        }
        MPI_Bcast(&end, 1, MPI_INT, 0, MPI_COMM_WORLD);
    }
    MPI_Finalize();
    return 0;
}
C
    mpicc.$mpi -O1 -o job job.c
    [ $mpi = openmpi ] || exec mpirun.$mpi -n 4 ./job
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 TMPDIR=$PWD
    exec mpirun.openmpi --oversubscribe ${MPI_OPTIONS:---mca btl self,vader} -n 4 ./job
}
phase "$1"
