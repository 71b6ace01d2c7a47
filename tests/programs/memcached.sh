#!/bin/bash
# memcached with a key, used over TCP.
. "$(dirname "$0")/common.sh"
have() { need memcached; }
run() { [ "$(id -u)" = 0 ] && set -- -u root || set --; exec memcached -l 127.0.0.1 -p "$port" -U 0 -m 32 -A "$@"; }
up() { ask 'version\r\n' | grep -q VERSION; }
before() { await up; ask 'set k 0 0 5\r\nhello\r\n' | grep -q STORED; }
after() { ask 'get k\r\n' 2 | grep -q hello || fail "the key is lost"; }
stop() { ask 'shutdown\r\n' 1 || true; }
phase "$1"
