#!/bin/bash
# PostgreSQL under pgbench, both in the computation; the balances must agree.
. "$(dirname "$0")/common.sh"
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1 || true)
have() { [ -n "$bin" ] && [ -x "$bin/pgbench" ] || skip "pgbench is not installed"; need psql; [ "$(id -u)" != 0 ] || skip "postgres does not run as root"; }
run() {
    "$bin/initdb" -D data -A trust -U test --no-sync > initdb.log
    "$bin/postgres" -D data -k "$PWD" -c listen_addresses= -c fsync=off -c shared_buffers=4MB &
    server=$!
    until sql 'select 1' > one 2>&1; do sleep 0.05; done
    "$bin/pgbench" -h "$PWD" -U test -i -q postgres > init.log 2>&1
    n=0
    until [ -e stop ]; do
        "$bin/pgbench" -h "$PWD" -U test -c 3 -j 2 -t 60 postgres > bench.log 2>&1 || fail "pgbench: $(tail -1 bench.log)"
        n=$((n + 1))
        reached $n
    done
    kill -INT $server
    wait $server
}
sql() { psql -h "$PWD" -U test -At -d postgres -c "$1"; }
after() {
    grows count
    [ "$(sql 'select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches)')" = t ] || fail "the sums differ"
}
phase "$1"
