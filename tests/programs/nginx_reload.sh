#!/bin/bash
# nginx with four workers under ab inside; it reads its configuration again, with new workers, after each restart.
. "$(dirname "$0")/common.sh"
have() { need nginx ab; }
run() {
    mkdir -p tmp www
    echo hello-from-nginx > www/index.html
    [ "$(id -u)" = 0 ] && user='user root;' || user=
    cat > nginx.conf <<C
daemon off; worker_processes 4; pid $PWD/pid; error_log $PWD/error.log notice; $user
events { worker_connections 256; }
http {
    access_log off; client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
    uwsgi_temp_path tmp; scgi_temp_path tmp;
    server { listen 127.0.0.1:$port; root $PWD/www; location /n { return 200 "\$connection"; } }
}
C
    nginx -p "$PWD" -c "$PWD/nginx.conf" -e "$PWD/error.log" &
    server=$!
    await get
    until [ -e stop ]; do
        ab -q -k -c 20 -n 2000 "http://127.0.0.1:$port/n" > ab.log 2>&1 || fail "ab: $(tail -1 ab.log)"
        n=$((${n:-0} + 1))
        reached $n
        if [ -e reload ]; then
            gone=$((${gone:-0} + 4))
            kill -HUP $server
            await ended $gone
            mv reload reloaded
        fi
    done
    kill -QUIT $server
    wait
}
# The old workers end once they have none to serve; until then they may reset a new connection of ab's.
ended() { [ "$(grep -c 'worker process .* exited with code 0' error.log)" -ge "$1" ]; }
get() { ask 'GET / HTTP/1.0\r\n\r\n' 30 | grep -q hello-from-nginx; }
up() { get; }
before() { await test -s count; }
after() {
    touch reload
    await test -e reloaded
    rm reloaded
    grows count
    get || fail "no answer after the reload"
    grows count
}
phase "$1"
