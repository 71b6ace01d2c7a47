#!/bin/bash
# A script under ckpt_launch that uses ckpt_launch itself: one computation, and the status of the inner program.
. "$(dirname "$0")/common.sh"
have() { :; }
run() {
    local launch= status=0
    [ -z "${GUEST_INIT_IS_1:-}" ] || launch="$GUEST_EXAMPLES/../ckpt_launch --quiet"
    # shellcheck disable=SC2016
    $launch bash -c 'n=0; until [ -e stop ]; do n=$((n + 1)); echo $n > count.new; mv count.new count; done; exit 7' || status=$?
    [ $status = 7 ] || fail "the inner program ended with $status"
}
phase "$1"
