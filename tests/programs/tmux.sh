#!/bin/bash
# A tmux server with a shell in a window, used by tmux clients.
. "$(dirname "$0")/common.sh"
have() { need tmux; }
run() { export SHELL=/bin/sh; exec tmux -S "$PWD/s" -f /dev/null -D; }
t() { tmux -S "$PWD/s" "$@"; }
type_() { t send-keys -t w "$1" Enter; }
shows() { t capture-pane -p -t w | grep -qx "$1"; }
up() { t list-sessions; }
before() {
    await test -S s
    await t new-session -d -s w -x 80 -y 24 'PS1="$ " exec sh'
    start() { type_ 'x=5; echo start-$((x + 1))'; shows start-6; }
    await start
}
after() { n=$RANDOM; type_ "echo again-\$((x + $n))"; await shows "again-$((n + 5))"; }
stop() { t kill-server || true; }
phase "$1"
