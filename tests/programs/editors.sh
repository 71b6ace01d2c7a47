#!/bin/bash
# nano and less, and emacs where it is installed, in windows of a tmux server.
. "$(dirname "$0")/common.sh"
have() { need tmux nano less; }
run() { export SHELL=/bin/sh; exec tmux -S "$PWD/s" -f /dev/null -D; }
t() { tmux -S "$PWD/s" "$@"; }
up() { t list-sessions; }
shows() { t capture-pane -p -t "$1" | grep -q "$2"; }
before() {
    await test -S s
    seq 10000 > lines
    await t new-session -d -s n -x 80 -y 24 'exec nano -I n.txt'
    t new-session -d -s l -x 80 -y 24 'exec less lines'
    await shows n n.txt
    await shows l '^1$'
    t send-keys -t n first-line Enter
    command -v emacs > /dev/null || return 0
    t new-session -d -s e -x 80 -y 24 'exec emacs -nw -Q e.txt'
    await shows e e.txt
    t send-keys -t e first-line Enter
    await shows e first-line
    await shows n first-line
}
after() {
    n=$RANDOM
    ! command -v emacs > /dev/null || t send-keys -t e "more-$n" Enter C-x C-s
    t send-keys -t n "more-$n" Enter C-s
    has() { grep -q "more-$n" "$1" && grep -q first-line "$1"; }
    ! command -v emacs > /dev/null || await has e.txt
    await has n.txt
    t send-keys -t l "$((n % 9000 + 100))g"
    await shows l "^$((n % 9000 + 100))\$"
}
stop() { t kill-server || true; }
phase "$1"
