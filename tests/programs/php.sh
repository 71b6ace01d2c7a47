#!/bin/bash
# php's own server with a script that keeps a count in a file under lock.
. "$(dirname "$0")/common.sh"
have() { need php; }
run() {
    cat > index.php <<'P'
<?php
$f = fopen("hits", "c+");
flock($f, LOCK_EX);
$n = 1 + (int) fgets($f);
rewind($f);
fwrite($f, "$n\n");
flock($f, LOCK_UN);
echo "hits $n ", array_sum(range(1, 100)), "\n";
P
    php -S 127.0.0.1:"$port" -t . > php.log 2>&1 &
    server=$!
    await test -e stop
    kill $server
    wait || true
}
up() { ask 'GET / HTTP/1.0\r\n\r\n' 30 | grep -q '^hits [0-9]* 5050'; }
before() { await up; }
after() {
    was=$(cat hits)
    up || fail "no answer from php"
    [ "$(cat hits)" -gt "$was" ] || fail "the count stands at $was"
}
phase "$1"
