#!/bin/bash
# GNU parallel with four jobs at a time, and xargs -P.
. "$(dirname "$0")/common.sh"
have() { need parallel xargs; }
run() {
    export PARALLEL_HOME=$PWD/ph
    mkdir -p ph
    touch ph/will-cite
    until [ -e stop ]; do
        s=$(seq 40 | parallel -j 4 'echo $(({} * 2))' | awk '{s+=$1} END {print s}')
        [ "$s" = 1640 ] || fail "sum $s"
        s=$(seq 40 | xargs -P 4 -n 3 sh -c 'for i; do echo $i; done' x | awk '{s+=$1} END {print s}')
        [ "$s" = 820 ] || fail "sum of xargs $s"
        n=$((${n:-0} + 1))
        reached $n
    done
}
phase "$1"
