#!/bin/bash
# tar | zstd | zstd | tar and rsync, over and over.
. "$(dirname "$0")/common.sh"
have() { need tar zstd rsync; }
run() {
    mkdir -p from; for i in $(seq 60); do head -c 50000 /dev/urandom | base64 > from/$i; done
    (cd from && sha1sum * > ../sums)
    n=0
    until [ -e stop ]; do
        rm -rf to too; mkdir to
        tar c -C from . | zstd -q -3 -T2 | zstd -dq | tar x -C to || fail "FAIL: tar"
        (cd to && sha1sum -c --quiet ../sums) || fail "FAIL: sums"
        rsync -a --no-whole-file to/ too || fail "FAIL: rsync"
        (cd too && sha1sum -c --quiet ../sums) || fail "FAIL: sums of rsync"
        n=$((n + 1))
        reached $n
    done
}
phase "$1"
