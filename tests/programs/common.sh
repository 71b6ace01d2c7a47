# Shared by the program scripts: phases are functions named have, run, before, after, stop.
set -eu
cd "$GUEST_DIR"
port=$((GUEST_UNIQUE + 11000))

skip() { echo "$*" >&2; exit 77; }
need() { for c in "$@"; do command -v "$c" >/dev/null || skip "$c is not installed"; done; }
fail() { echo "$*" >&2; exit 1; }
# Waits until the command succeeds; the harness has the deadline.
await() { until "$@" 2>/dev/null; do sleep 0.02; done; }
grows() { # FILE: the number in it goes up
    local was now
    await test -s "$1"
    was=$(cat "$1")
    now=$was
    while [ "$now" -le "$was" ]; do sleep 0.01; now=$(cat "$1"); now=${now:-$was}; done
}
# One line of a TCP server's answer.
ask() { exec 9<>"/dev/tcp/127.0.0.1/$port" && printf '%b' "$1" >&9 && head -n "${2:-1}" <&9; exec 9>&-; }
# For name servers: www.test is 10.1.2.3.
resolves() { dig -p "$port" @127.0.0.1 www.test +short "$@" | grep -qx 10.1.2.3; }
answers_dns() {
    for _ in 1 2 3 4; do up || fail "no answer over UDP"; done
    resolves +tcp || fail "no answer over TCP"
}
# How far a program is, for `grows`: never half a number. Python programs have it from counting.py.
reached() { echo "$1" > count.new; mv count.new count; }
PYTHONPATH=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH PYTHONDONTWRITEBYTECODE=1
# A program that counts in a file `count` until there is a file `stop` needs no phases of its own.
before() { await test -s count; }
after() { grows count; }
stop() { touch stop; }
# For nginx.conf: what it writes lies below the working folder.
nginx_head() {
    local user=
    [ "$(id -u)" != 0 ] || user='user root;'
    echo "daemon off; worker_processes 2; pid $PWD/pid; error_log $PWD/error.log; $user events { worker_connections 64; }"
}
nginx_paths() { echo "access_log off; client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;"; }
# A server that ends at a signal.
end_with_test() { await test -e stop; kill "$1"; wait || true; }
# After a restart the program is there when it answers.
up() { :; }
phase() { [ "$1" != after ] || await up; "$1"; }
