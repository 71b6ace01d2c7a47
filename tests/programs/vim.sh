#!/bin/bash
# vim editing a file in a terminal that tmux holds.
. "$(dirname "$0")/common.sh"
have() { need tmux vim; }
run() { export SHELL=/bin/sh; exec tmux -S "$PWD/s" -f /dev/null -D; }
t() { tmux -S "$PWD/s" "$@"; }
up() { t list-sessions; }
before() {
    await test -S s
    await t new-session -d -s w -x 80 -y 24 'exec vim -u NONE -n text'
    shows() { t capture-pane -p -t w | grep -q "$1"; }
    await shows 'text'
    t send-keys -t w ifirst-line Escape
    await shows first-line
}
# vim empties the file before it writes: only one with another line in it is whole.
after() {
    local n
    n=$(grep -cs more text) || n=${n:-0}
    longer() { [ "$(grep -cs more text)" = $((n + 1)) ]; }
    t send-keys -t w Gomore Escape :w Enter
    await longer
    grep -q first-line text || fail "the first line is lost"
}
stop() { t send-keys -t w :q Enter; t kill-server || true; }
phase "$1"
