#!/bin/bash
# PostgreSQL with a table and prepared work, used by psql.
. "$(dirname "$0")/common.sh"
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1 || true)
have() { [ -n "$bin" ] && [ -x "$bin/postgres" ] || skip "postgres is not installed"; need psql; [ "$(id -u)" != 0 ] || skip "postgres does not run as root"; }
run() {
    "$bin/initdb" -D data -A trust -U test --no-sync > initdb.log
    exec "$bin/postgres" -D data -k "$PWD" -c listen_addresses= -c fsync=off -c shared_buffers=4MB
}
sql() { psql -h "$PWD" -U test -At -d postgres -c "$1"; }
up() { sql 'select 1'; }
before() { await up; sql 'create table t as select generate_series(1, 100) n' > said; }
after() {
    [ "$(sql 'select sum(n) from t')" = 5050 ] || fail "the table is lost"
    sql 'create table if not exists u(n int); insert into u values (1)' > said
}
# Not by its pid file: outside the computation it may have another pid after a restart.
stop() { pkill -INT -f "postgres -D data -k $PWD"; }
phase "$1"
