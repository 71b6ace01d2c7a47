#!/bin/bash
# A shell pipeline of four processes with variables and background jobs.
. "$(dirname "$0")/common.sh"
have() { need bash; }
run() {
    cat > job.sh <<'S'
sleep 1000 & bg=$!
n=0
while [ ! -e stop ]; do n=$((n + 1)); echo "$n"; sleep 0.002; done | while read -r x; do echo "$((x * 3))"; done | cat | {
    want=0
    while read -r y; do
        want=$((want + 3))
        [ "$y" = "$want" ] || { echo "expected $want, got $y" >&2; exit 1; }
        echo "$y" > count.new && mv count.new count
    done
}
rc=$?
kill $bg && wait $bg
exit $rc
S
    exec bash job.sh
}
phase "$1"
