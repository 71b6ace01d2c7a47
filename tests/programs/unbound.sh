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
up() { resolves +tries=1 +time=2; }
before() { await up; }
after() { answers_dns; }
phase "$1"
