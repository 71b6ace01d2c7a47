#!/bin/bash
# Four Open MPI processes that pass messages and sum up, over TCP.
MPI_OPTIONS='--mca btl self,tcp' . "$(dirname "$0")/mpi.sh"
