#!/bin/bash
# MariaDB with a table and an open transaction, used by its client inside and outside the computation.
. "$(dirname "$0")/common.sh"
have() { need mariadbd mariadb-install-db mariadb; }
run() {
    user=$(id -un)
    mariadb-install-db --no-defaults --datadir="$PWD/data" --user="$user" --auth-root-authentication-method=normal --skip-test-db > install.log 2>&1
    mariadbd --no-defaults --datadir="$PWD/data" --user="$user" --socket="$PWD/s" --skip-networking --pid-file="$PWD/pid" \
        --innodb-buffer-pool-size=8M --innodb-log-file-size=4M --innodb-flush-log-at-trx-commit=0 > server.log 2>&1 &
    answers() { sql 'select 1' > one 2>&1; }
    await answers
    sql 'create database d; create table d.t(n integer primary key) engine=innodb; create table d.m(n integer) engine=aria'
    {
        n=0
        until [ -e stop ]; do
            n=$((n + 1))
            echo "begin; insert into d.t values($n); insert into d.m values($n); select sum(n) - $n * ($n + 1) / 2, 'sum' from d.t; commit;"
            sleep 0.002
        done
    } | mariadb --no-defaults -S s -u root -N -n | while read -r zero _; do
        case $zero in 0 | 0.0000) ;; *) echo "the sum is off by $zero" >&2; exit 1 ;; esac
        n=$((${n:-0} + 1))
        reached $n
    done
    sql shutdown
    wait
}
sql() { mariadb --no-defaults -S "$PWD/s" -u root -N -e "$1"; }
after() { grows count; [ "$(sql 'select count(*) - max(n) from d.t')" = 0 ] || fail "rows are lost"; }
phase "$1"
