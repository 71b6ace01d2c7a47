#!/bin/bash
# Midnight Commander with its subshell, and irssi, in tmux.
. "$(dirname "$0")/common.sh"
have() { need tmux mc irssi; }
T() { tmux -S "$PWD/t" "$@"; }
run() {
    export TERM=screen HOME="$PWD" SHELL=/bin/bash
    mkdir -p a b
    touch a/one a/two
    T -f /dev/null new-session -d -x 100 -y 30 -s w "mc -a $PWD/a $PWD/b"
    T new-window -t w:1 irssi --home="$PWD/irssi" -n me
    until [ -e stop ]; do sleep 0.05; done
    T kill-server
}
shown() { T capture-pane -p -t "w:$1" > "cap.$1" && grep -q "$2" "cap.$1"; }
up() { T has-session -t w; }
before() {
    await shown 0 two
    await shown 1 Irssi
}
after() {
    n=$RANDOM$RANDOM
    T send-keys -t w:0 "touch made-$n" Enter
    await test -e a/made-$n
    T send-keys -t w:0 C-r
    await shown 0 made-
    T send-keys -t w:1 "/echo say-$n" Enter
    await shown 1 "say-$n"
}
phase "$1"
