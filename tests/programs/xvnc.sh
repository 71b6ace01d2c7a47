#!/bin/bash
# Xtigervnc with xterm and xclock, and a VNC client's handshake from outside.
. "$(dirname "$0")/common.sh"
display=$((GUEST_UNIQUE % 1000 + 100))
have() { need Xtigervnc xterm xclock xdpyinfo; }
run() {
    Xtigervnc :$display -geometry 320x240 -depth 24 -rfbport "$port" -localhost -SecurityTypes None -ac > x.log 2>&1 &
    server=$!
    export DISPLAY=:$display
    await xdpyinfo > info
    xclock -update 1 2> /dev/null &
    xterm -e sh -c 'n=0; until [ -e stop ]; do n=$((n + 1)); echo line $n; echo $n > count.new; mv count.new count; done' 2> /dev/null
    kill $server
    wait || true
}
up() { ask '' 1 | grep -q '^RFB 003'; }
before() {
    await test -s count
    await up
}
after() {
    grows count
    up || fail "no VNC server"
    DISPLAY=:$display xdpyinfo > info || fail "no display"
}
phase "$1"
