#!/bin/bash
# Unbound with local data and four threads.
. "$(dirname "$0")/common.sh"
have() { need unbound dig; }
run() {
    cat > u.conf <<C
server:
  interface: 127.0.0.1
  port: $port
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "$PWD"
  pidfile: "$PWD/pid"
  logfile: "$PWD/u.log"
  use-syslog: no
  num-threads: 4
  module-config: "iterator"
  local-zone: "test." static
  local-data: "www.test. A 10.1.2.3"
C
    unbound -d -c "$PWD/u.conf" & s=$!
    await test -e stop
    kill $s
    wait || true
}
up() { dig -p "$port" @127.0.0.1 www.test +short +tries=1 +time=2 | grep -qx 10.1.2.3; }
before() { await up; }
after() { for _ in 1 2 3 4; do up || fail "no answer over UDP"; done; dig +tcp -p "$port" @127.0.0.1 www.test +short | grep -qx 10.1.2.3 || fail "no answer over TCP"; }
phase "$1"
