#!/bin/bash
# tar | gzip | gzip -d | tar and xz at work on files, over and over.
. "$(dirname "$0")/common.sh"
have() { need tar gzip xz; }
run() {
    mkdir data
    for i in 1 2 3 4 5; do seq $((i * 1000)) $((i * 1000 + 20000)) > data/$i; done
    n=0
    until [ -e stop ]; do
        rm -rf out && mkdir out
        tar cf - data | gzip -1 | gzip -dc | tar xf - -C out
        diff -r data out/data || fail "what came out is not what went in"
        sum=$(xz -0 -T2 -c data/3 | xz -dc | cksum)
        [ "$sum" = "$(cksum < data/3)" ] || fail "xz lost something"
        n=$((n + 1))
        reached $n
    done
}
phase "$1"
