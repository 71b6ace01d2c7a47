#!/bin/bash
# Apache httpd (event MPM) under ab with kept connections, both in the computation.
. "$(dirname "$0")/common.sh"
have() { need apache2 ab; }
run() {
    mkdir www
    chmod 755 . www
    seq 3000 > www/index.html
    m=/usr/lib/apache2/modules
    cat > h.conf <<C
ServerRoot $PWD
ServerName localhost
Listen 127.0.0.1:$port
PidFile $PWD/pid
ErrorLog $PWD/error.log
DefaultRuntimeDir $PWD
LoadModule mpm_event_module $m/mod_mpm_event.so
LoadModule authz_core_module $m/mod_authz_core.so
LoadModule dir_module $m/mod_dir.so
DocumentRoot $PWD/www
DirectoryIndex index.html
StartServers 2
ThreadsPerChild 8
MaxKeepAliveRequests 0
User www-data
Group www-data
C
    apache2 -DFOREGROUND -f "$PWD/h.conf" > server.log 2>&1 &
    server=$!
    until ab -q -n 1 "http://127.0.0.1:$port/" > ab.log 2>&1; do sleep 0.05; done
    n=0
    until [ -e stop ]; do
        ab -q -k -n 2000 -c 5 "http://127.0.0.1:$port/" > ab.log 2>&1 || fail "ab: $(tail -1 ab.log)"
        grep -q '^Failed requests: *0$' ab.log || fail "$(grep '^Failed' ab.log)"
        n=$((n + 1))
        reached $n
    done
    kill $server
    wait $server || true
}
phase "$1"
