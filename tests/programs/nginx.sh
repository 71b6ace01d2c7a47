#!/bin/bash
# nginx with a master and two workers, used over TCP.
. "$(dirname "$0")/common.sh"
have() { need nginx; }
run() {
    mkdir -p tmp www
    echo hello-from-nginx > www/index.html
    [ "$(id -u)" = 0 ] && user='user root;' || user=
    cat > nginx.conf <<C
daemon off; worker_processes 2; pid $PWD/pid; error_log $PWD/error.log; $user
events { worker_connections 64; }
http {
    access_log $PWD/access.log; client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
    uwsgi_temp_path tmp; scgi_temp_path tmp;
    server { listen 127.0.0.1:$port; root $PWD/www; }
}
C
    exec nginx -p "$PWD" -c "$PWD/nginx.conf" -e "$PWD/error.log"
}
get() { ask 'GET / HTTP/1.0\r\n\r\n' 30 | grep -q hello-from-nginx; }
up() { get; }
before() { await up; }
after() { for _ in 1 2 3 4 5; do get || fail "no answer from nginx"; done; }
# Not by its pid file: outside the computation it may have another pid after a restart.
stop() { pkill -QUIT -f "nginx: master.*$PWD/nginx.conf"; }
phase "$1"
