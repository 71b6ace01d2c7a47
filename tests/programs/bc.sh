#!/bin/bash
# bc and dc as co-processes of a shell, fed through pipes, with variables.
. "$(dirname "$0")/common.sh"
have() { need bc dc; }
run() {
    coproc bc -lq
    exec 5<&"${COPROC[0]}" 6>&"${COPROC[1]}"
    mkfifo to from
    dc < to > from &
    exec 7> to 8< from
    n=0
    echo "x = 0" >&6
    until [ -e stop ]; do
        n=$((n + 1))
        echo "x += 1; x" >&6
        read -r x <&5
        [ "$x" = $n ] || fail "bc: expected $n, got $x"
        echo "$n 2 * p c" >&7
        read -r x <&8
        [ "$x" = $((n * 2)) ] || fail "dc: expected $((n * 2)), got $x"
        reached $n
    done
    eval "exec 6>&- 7>&- ${COPROC[1]}>&-"
    wait
}
phase "$1"
