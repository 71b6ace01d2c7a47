#!/bin/bash
# dnsmasq with local names.
. "$(dirname "$0")/common.sh"
have() { need dnsmasq dig; }
run() {
    [ "$(id -u)" = 0 ] && u="--user=root" || u=
    exec dnsmasq -k --no-resolv --no-hosts --listen-address=127.0.0.1 --bind-interfaces -p "$port" --address=/www.test/10.1.2.3 -x "$PWD/pid" --log-facility="$PWD/d.log" -q $u -C /dev/null
}
up() { resolves +tries=1 +time=2; }
before() { await up; }
after() { answers_dns; }
stop() { kill "$(pgrep -f "dnsmasq -k.*$PWD/pid")"; }
phase "$1"
