#!/bin/bash
# The programs of examples/selfckpt, in C, Python and Rust, to their ends again and again: each checkpoints itself.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")/../.." && pwd)
have() { need python3 cc; test -r "$here/examples/selfckpt/selfckpt.c" || skip "the checkout is not readable"; }
run() {
    [ -x selfckpt ] || cc -std=c99 -pedantic-errors -Wall -Wextra -Werror -I "$here/include" -o selfckpt "$here/examples/selfckpt/selfckpt.c" -ldl
    n=0
    while [ ! -e stop ]; do
        ./selfckpt 12 6 > one.out
        PYTHONPATH="$here/python" python3 "$here/examples/selfckpt/selfckpt.py" 12 6 > two.out
        three=
        [ ! -x "$GUEST_EXAMPLES/selfckpt" ] || { "$GUEST_EXAMPLES/selfckpt" 12 6 > three.out; three=three.out; }
        for out in one.out two.out $three; do
            tail -n 1 $out | grep -q '^done at 12 after [0-9]* restarts$' || fail "$out: $(cat $out)"
            # Under ckpt it has checkpointed itself twice.
            [ -z "${GUEST_INIT_IS_1:-}" ] || [ "$(grep -ciE '^step (6|12): (resumed|restarted)$' $out)" = 2 ] || fail "$out: $(cat $out)"
        done
        n=$((n + 1))
        reached $n
    done
}
phase "$1"
