#!/bin/bash
# redis-server with keys, used by redis-cli.
. "$(dirname "$0")/common.sh"
have() { need redis-server redis-cli; }
run() { exec redis-server --port 0 --unixsocket "$PWD/s" --save '' --appendonly no --dir "$PWD" --daemonize no; }
cli() { redis-cli -s s "$@"; }
up() { cli ping; }
before() {
    await up
    cli set name value > said
    cli rpush list a b c >> said
    cli setex soon 1000 x >> said
}
after() {
    [ "$(cli get name)" = value ] || fail "name is lost"
    [ "$(cli lrange list 0 -1 | tr '\n' ' ')" = 'a b c ' ] || fail "list is lost"
    [ "$(cli ttl soon)" -gt 900 ] || fail "ttl is wrong"
    cli incr counter > said
}
stop() { cli shutdown nosave; }
phase "$1"
