#!/bin/bash
# redis-server with an append-only file under redis-benchmark, both in the computation; saves fork meanwhile.
. "$(dirname "$0")/common.sh"
have() { need redis-server redis-cli redis-benchmark; }
run() {
    redis-server --port 0 --unixsocket "$PWD/s" --save '' --appendonly yes --appendfsync no --dir "$PWD" --daemonize no > server.log &
    until redis-cli -s s ping > pong 2>&1; do sleep 0.02; done
    n=0
    until [ -e stop ]; do
        redis-benchmark -s "$PWD/s" -c 5 -n 3000 -P 4 -t set,get,incr,lpush,ping_mbulk -q > bench 2>&1 || fail "redis-benchmark failed"
        ! grep -i error bench || fail "redis-benchmark met an error"
        redis-cli -s s bgsave > saving
        [ $((n % 3)) != 2 ] || redis-cli -s s bgrewriteaof > rewriting
        n=$((n + 1))
        reached $n
    done
    redis-cli -s s shutdown nosave
    wait %1
}
up() { redis-cli -s s ping; }
before() {
    await test -s count
    redis-cli -s s set name value > said
}
after() {
    [ "$(redis-cli -s s get name)" = value ] || fail "name is lost"
    grows count
}
phase "$1"
