#!/bin/bash
# mosquitto with a subscriber and a publisher, all in the computation.
. "$(dirname "$0")/common.sh"
have() { need mosquitto mosquitto_pub mosquitto_sub; }
run() {
    printf 'listener %s 127.0.0.1\nallow_anonymous true\n%s' "$port" "$([ "$(id -u)" = 0 ] && echo 'user root')" > m.conf
    mosquitto -c m.conf > m.log 2>&1 &
    until mosquitto_pub -p "$port" -t up -m x 2> pub.log; do sleep 0.05; done
    mosquitto_sub -p "$port" -q 2 -t t > got 2> sub.log &
    sleep 0.3
    {
        n=0
        until [ -e stop ]; do n=$((n + 1)); echo $n; sleep 0.005; done
    } | mosquitto_pub -p "$port" -q 2 -t t -l 2> pub.log &
    until [ -e stop ]; do
        n=$(wc -l < got)
        seq "$n" | cmp - <(head -n "$n" got) || fail "messages are lost or in disorder"
        echo "$n" > count.new
        mv count.new count
        sleep 0.02
    done
    kill %1 %2
    wait || true
}
phase "$1"
