#!/bin/bash
# An interactive sqlite3 with a database in memory, fed through a named pipe.
. "$(dirname "$0")/common.sh"
have() { need sqlite3; }
run() { mkfifo in; exec sqlite3 :memory: 0<>in > out; }
say() { echo "$*" > in; }
said() { grep -qx "$1" out; }
before() {
    await test -p in
    say 'create table t(n integer);'
    for i in 1 2 3 4; do say "insert into t values($i);"; done
    say 'begin; insert into t values(90);'
    say "select 'sum', sum(n) from t;"
    await said 'sum|100'
}
after() { say "select 'after', count(*), sum(n) from t;"; await said 'after|5|100'; }
stop() { say 'commit;'; say '.quit'; }
phase "$1"
