#!/bin/bash
# Interactive zsh, fish, ksh, dash and IPython in windows of tmux, htop beside them.
. "$(dirname "$0")/common.sh"
have() { need tmux zsh dash; }
run() { export SHELL=/bin/sh HISTFILE=$PWD/history; exec tmux -S "$PWD/s" -f /dev/null -D; }
t() { tmux -S "$PWD/s" "$@"; }
up() { t list-sessions; }
shows() { t capture-pane -p -t "$1" | grep -q "$2"; }
shells() { for s in zsh:-f ksh: dash:-i; do ! command -v "${s%:*}" > /dev/null || echo "$s"; done; }
before() {
    await test -S s
    ! command -v htop > /dev/null || t new-session -d -s htop -x 80 -y 24 'exec htop'
    ! command -v fish > /dev/null || t new-session -d -s fish -x 80 -y 24 'exec fish -N'
    ! command -v ipython3 > /dev/null || t new-session -d -s ipython -x 80 -y 24 'exec ipython3 --no-banner --simple-prompt'
    for s in $(shells); do
        n=${s%:*}
        t new-session -d -s "$n" -x 80 -y 24 "exec $n ${s#*:}"
        type_ "$n" 'echo up-$((2 + 3))' up-5
    done
    ! command -v fish > /dev/null || type_ fish 'set x 7; echo up-(math 2 + $x)' up-9
    ! command -v ipython3 > /dev/null || { type_ ipython 'x = 7; print("up", x)' 'up 7'; }
}
# Typed again until it shows: a shell that is not up yet may lose it.
type_() {
    once() { t send-keys -t "$1" "$2" Enter; for _ in $(seq 50); do sleep 0.02; ! shows "$1" "$3" || return 0; done; return 1; }
    await once "$@"
}
after() {
    for s in $(shells); do
        n=$RANDOM
        type_ "${s%:*}" "echo again-\$((10 + $n))" "again-$((n + 10))"
        type_ "${s%:*}" "sh -c 'echo child-'$n" "^child-$n"
    done
    n=$RANDOM
    ! command -v fish > /dev/null || type_ fish "echo again-(math \$x + $n)" "again-$((n + 7))"
    ! command -v ipython3 > /dev/null || type_ ipython "print('again', x + $n)" "again $((n + 7))"
}
stop() { t kill-server || true; }
phase "$1"
