#!/bin/bash
# mosquitto with a retained message and a subscriber, both in the computation, and publishers from outside.
. "$(dirname "$0")/common.sh"
have() { need mosquitto mosquitto_sub mosquitto_pub; }
run() {
    [ "$(id -u)" = 0 ] && user='user root' || user=
    printf '%s\n' "listener $port 127.0.0.1" 'allow_anonymous true' 'persistence false' "$user" > m.conf
    mosquitto -c m.conf > m.log 2>&1 &
    server=$!
    await mosquitto_pub -p "$port" -t kept -r -m retained
    mosquitto_sub -p "$port" -t heard -q 1 > heard &
    until [ -e stop ]; do
        n=$((${n:-0} + 1))
        mosquitto_pub -p "$port" -t count -m $n > pub.log 2>&1 || fail "$(cat pub.log)"
        reached $n
    done
    kill %2 $server
    wait || true
}
up() { mosquitto_pub -p "$port" -t up -m up; }
before() { await test -s count; }
after() {
    n=$RANDOM$RANDOM
    [ "$(mosquitto_sub -p "$port" -t kept -C 1)" = retained ] || fail "the retained message is lost"
    mosquitto_pub -p "$port" -t heard -q 1 -m "$n"
    await grep -qx "$n" heard
    grows count
}
phase "$1"
