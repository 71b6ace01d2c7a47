#!/bin/bash
# Two programs with an agent each, under the same coordinator: each is told what the other publishes, after a restart anew.
. "$(dirname "$0")/common.sh"
have() { need python3; }
agents=${agents-2} options=
[ "$agents" = 1 ] || options='--compress none'
run() { exec python3 -u - one two < "$(dirname "$0")/names.py"; }
client() { exec python3 -u - two one < "$(dirname "$0")/names.py"; }
before() {
    local bin=$GUEST_EXAMPLES/.. launch=
    [ ! -e told.two ] || return 0
    # Without a coordinator by now it is not launched.
    await test -e begun.one
    "$bin/ckpt_command" --coord-port "$GUEST_UNIQUE" --status > status 2>&1 &&
        launch="$bin/ckpt_launch --coord-port $GUEST_UNIQUE --ckptdir $GUEST_DIR/../images $options"
    # shellcheck disable=SC2086
    $launch "$0" client > client.log 2>&1 < /dev/null &
    await test -e told.two -a -e told.one
    [ -z "$launch" ] || await looked_after
}
# One looks after both, or each after its own.
looked_after() { "$GUEST_EXAMPLES/../ckpt_command" --coord-port "$GUEST_UNIQUE" --status | grep -qx "agents: $agents"; }
phase "$1"
