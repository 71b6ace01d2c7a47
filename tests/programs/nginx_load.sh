#!/bin/bash
# nginx with two workers under ab with kept connections, both in the computation.
. "$(dirname "$0")/common.sh"
have() { need nginx ab; }
run() {
    mkdir -p tmp www
    seq 5000 > www/index.html
    cat > nginx.conf <<C
$(nginx_head)
http {
    $(nginx_paths)
    server { listen 127.0.0.1:$port; root $PWD/www; }
}
C
    nginx -p "$PWD" -c "$PWD/nginx.conf" -e "$PWD/error.log" &
    server=$!
    n=0
    await ab -q -n 1 "http://127.0.0.1:$port/index.html" > first.log
    until [ -e stop ]; do
        ab -q -k -n 2000 -c 5 "http://127.0.0.1:$port/index.html" > ab.log 2>&1 || fail "ab: $(tail -1 ab.log)"
        grep -q '^Failed requests: *0$' ab.log || fail "$(grep '^Failed' ab.log)"
        n=$((n + 1))
        reached $n
    done
    kill -QUIT $server
    wait $server
}
phase "$1"
