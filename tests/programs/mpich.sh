#!/bin/bash
# Four MPICH processes that pass messages and sum up, with hydra as their parent.
MPI=mpich . "$(dirname "$0")/mpi.sh"
