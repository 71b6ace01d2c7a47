#!/bin/bash
# Xvfb with xterm, xclock and xeyes; xwd takes a picture.
. "$(dirname "$0")/common.sh"
have() { need Xvfb xterm xclock xeyes xdpyinfo xwd; }
run() {
    display=$((GUEST_UNIQUE % 1000 + 100))
    Xvfb :$display -screen 0 320x240x24 -nolisten tcp -ac -noreset > x.log 2>&1 &
    server=$!
    export DISPLAY=:$display
    until xdpyinfo > info 2>&1; do sleep 0.05; done
    xclock -update 1 2> /dev/null &
    xeyes 2> /dev/null &
    xterm -e sh -c 'n=0; until [ -e stop ]; do n=$((n+1)); echo line $n; echo $n > count.new; mv count.new count; done' 2> /dev/null
    kill $server
    wait
}
xwd_() { xwd -display ":$((GUEST_UNIQUE % 1000 + 100))" -root -out picture; }
after() { grows count; xwd_; [ "$(wc -c < picture)" -gt 300000 ] || fail "no picture"; }
phase "$1"
