#!/bin/bash
# php-fpm with workers that share a cache (opcache) behind nginx, and a file under lock.
. "$(dirname "$0")/common.sh"
fpm=$(ls /usr/sbin/php-fpm* 2>/dev/null | tail -1 || true)
have() { need nginx; [ -x "$fpm" ] || skip "php-fpm is not installed"; }
run() {
    mkdir -p tmp
    cat > index.php <<'P'
<?php
$f = fopen(__DIR__ . "/hits", "c+");
flock($f, LOCK_EX);
$n = 1 + (int) fgets($f);
rewind($f);
fwrite($f, "$n\n");
flock($f, LOCK_UN);
header("Content-Type: text/plain");
echo "hits $n ", array_sum(range(1, 100)), "\n";
P
    root='' pool=''
    if [ "$(id -u)" = 0 ]; then
        root=-R pool=$'user = root\ngroup = root'
    fi
    cat > fpm.conf <<C
[global]
error_log = $PWD/fpm.log
pid = $PWD/fpm.pid
daemonize = no
[one]
$pool
listen = $PWD/fpm.sock
pm = dynamic
pm.max_children = 5
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
C
    cat > nginx.conf <<C
$(nginx_head)
http {
    $(nginx_paths)
    server { listen 127.0.0.1:$port; location / { fastcgi_pass unix:$PWD/fpm.sock;
        fastcgi_param SCRIPT_FILENAME $PWD/index.php; fastcgi_param REQUEST_METHOD GET; } }
}
C
    "$fpm" $root -y "$PWD/fpm.conf" -n -F -d zend_extension=opcache.so &
    fpm=$!
    nginx -p "$PWD" -c "$PWD/nginx.conf" -e "$PWD/error.log" &
    server=$!
    await test -e stop
    kill -QUIT $server $fpm
    wait || true
}
up() { ask 'GET / HTTP/1.0\r\n\r\n' 30 | grep -q '^hits [0-9]* 5050'; }
before() { await up; }
after() {
    was=$(cat hits)
    for _ in 1 2 3 4 5 6; do up || fail "no answer from php-fpm"; done
    [ "$(cat hits)" -ge "$((was + 6))" ] || fail "the count stands at $was"
}
phase "$1"
