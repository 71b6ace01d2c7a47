#!/bin/bash
# What shells do with the tools: a script without #!, a misspelt option, nohup around a restart, a container. The computation of the
# test itself only counts.
. "$(dirname "$0")/common.sh"
have() { :; }
run() {
    n=0
    until [ -e stop ]; do n=$((n + 1)); reached $n; done
}
before() {
    await test -s count
    bin=$GUEST_EXAMPLES/..
    "$bin/ckpt_command" --coord-port "$GUEST_UNIQUE" --status > status 2>&1 || return 0
    own="--new-coordinator --coord-port 0 --port-file p --quiet"
    mkdir -p tools
    cd tools
    # shellcheck disable=SC2016
    echo 'exit $#' > plain
    chmod +x plain
    # shellcheck disable=SC2086
    ended 3 "$bin/ckpt_launch" $own ./plain a b c
    # shellcheck disable=SC2086
    ended 2 "$bin/ckpt_launch" $own --chekpoint true
    grep -q 'unknown option --chekpoint' said || fail "a misspelt option: $(cat said)"
    hangup
    streams
    ! unshare --pid --fork --mount-proc true 2> /dev/null || contained
    cd ..
}
ended() { # STATUS COMMAND
    local want=$1 got=0
    shift
    "$@" > said 2>&1 || got=$?
    [ "$got" = "$want" ] || fail "$* ended with $got: $(cat said)"
}
hangup() {
    local restart
    # shellcheck disable=SC2086
    "$bin/ckpt_launch" $own sh -c 'n=0; while :; do n=$((n + 1)); echo $n > new; mv new n; sleep 0.01; done' < /dev/null > log 2>&1 &
    await test -s n
    "$bin/ckpt_command" --coord-port "$(cat p)" --checkpoint --kill > log2 2>&1 || fail "$(cat log2)"
    wait $! || true
    rm p
    # shellcheck disable=SC2086
    nohup "$bin/ckpt_restart" $own images/*.img < /dev/null > log 2>&1 &
    restart=$!
    await test -s p
    grows n
    kill -HUP $restart
    grows n
    "$bin/ckpt_command" --coord-port "$(cat p)" --quit > log2 2>&1 || fail "$(cat log2)"
    wait $restart || true
}
# Files for the standard streams win over those that the program was launched with.
streams() {
    rm -rf images p
    # shellcheck disable=SC2016,SC2086
    "$bin/ckpt_launch" $own sh -c 'until [ -e go ]; do sleep 0.01; done; read -r x; echo "$x"' < /dev/null > old 2> log &
    await test -s p
    await ended 0 "$bin/ckpt_command" --coord-port "$(cat p)" --checkpoint --kill
    wait $! || true
    touch go
    echo word > in
    # shellcheck disable=SC2086
    ended 0 "$bin/ckpt_restart" $own --stdin in --stdout new images/*.img
    [ "$(cat new)" = word ] && [ ! -s old ] || fail "the program wrote '$(cat old)' to the old file, '$(cat new)' to the new one"
}
# As a container's first process, with which all others in it end: who asks for the end gets an answer all the same.
contained() {
    rm -r images p
    # shellcheck disable=SC2086
    unshare --pid --fork --mount-proc "$bin/ckpt_launch" $own sleep 1000 < /dev/null > log 2>&1 &
    await test -s p
    await ended 0 "$bin/ckpt_command" --coord-port "$(cat p)" --checkpoint
    ended 0 "$bin/ckpt_command" --coord-port "$(cat p)" --checkpoint --kill
    wait $! || true
}
phase "$1"
