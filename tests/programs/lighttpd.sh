#!/bin/bash
# haproxy in front of lighttpd, under curl and ab, all in the computation.
. "$(dirname "$0")/common.sh"
have() { need lighttpd haproxy curl ab; [ "$(id -u)" = 0 ] || skip "haproxy forbids itself processes when it is not root"; }
run() {
    mkdir www
    seq 3000 > www/index.html
    cat > l.conf <<C
server.port = $((port + 10000))
server.bind = "127.0.0.1"
server.document-root = "$PWD/www"
index-file.names = ( "index.html" )
C
    cat > h.cfg <<C
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend f
    bind 127.0.0.1:$port
    default_backend b
backend b
    server s 127.0.0.1:$((port + 10000))
C
    lighttpd -D -f l.conf > l.log 2>&1 &
    haproxy -db -f h.cfg > h.log 2>&1 &
    until curl -sf "http://127.0.0.1:$port/" > page; do sleep 0.05; done
    n=0
    until [ -e stop ]; do
        curl -sf "http://127.0.0.1:$port/" | cmp - www/index.html || fail "curl got another page"
        ab -q -k -n 500 -c 5 "http://127.0.0.1:$port/" > ab.log 2>&1 || fail "ab: $(tail -1 ab.log)"
        grep -q '^Failed requests: *0$' ab.log || fail "$(grep '^Failed' ab.log)"
        n=$((n + 1))
        echo $n > count.new
        mv count.new count
    done
    kill %1 %2
    wait || true
}
phase "$1"
