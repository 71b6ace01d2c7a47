#!/bin/bash
# emacs, nano and less in windows of a tmux server.
. "$(dirname "$0")/common.sh"
have() { need tmux emacs nano less; }
run() { export SHELL=/bin/sh; exec tmux -S "$PWD/s" -f /dev/null -D; }
t() { tmux -S "$PWD/s" "$@"; }
up() { t list-sessions; }
shows() { t capture-pane -p -t "$1" | grep -q "$2"; }
before() {
    await test -S s
    seq 10000 > lines
    await t new-session -d -s e -x 80 -y 24 'exec emacs -nw -Q e.txt'
    t new-session -d -s n -x 80 -y 24 'exec nano -I n.txt'
    t new-session -d -s l -x 80 -y 24 'exec less lines'
    await shows e e.txt
    await shows n n.txt
    await shows l '^1$'
    t send-keys -t e first-line Enter
    t send-keys -t n first-line Enter
    await shows e first-line
    await shows n first-line
}
after() {
    n=$RANDOM
    t send-keys -t e "more-$n" Enter C-x C-s
    t send-keys -t n "more-$n" Enter C-s
    has() { grep -q "more-$n" "$1" && grep -q first-line "$1"; }
    await has e.txt
    await has n.txt
    t send-keys -t l "$((n % 9000 + 100))g"
    await shows l "^$((n % 9000 + 100))\$"
}
stop() { t kill-server || true; }
phase "$1"
