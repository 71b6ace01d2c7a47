#!/bin/bash
# Four Open MPI processes that pass messages and sum up, over TCP.
# Ports of its own: it listens at 1024 and above otherwise, as any other does.
ports() { echo "--mca btl_tcp_port_min_$1 $((1100 + GUEST_UNIQUE % 300 * 30)) --mca btl_tcp_port_range_$1 30"; }
MPI_OPTIONS="--mca btl self,tcp $(ports v4) $(ports v6)" . "$(dirname "$0")/mpi.sh"
