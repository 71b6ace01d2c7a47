#!/bin/bash
# php -S serving a script that counts in its session.
. "$(dirname "$0")/common.sh"
have() { need php curl; }
run() {
    mkdir www s
    echo '<?php session_save_path(getenv("SAVE")); session_id("x"); session_start(); $_SESSION["n"] = ($_SESSION["n"] ?? 0) + 1; echo $_SESSION["n"], "\n";' > www/i.php
    SAVE=$PWD/s PHP_CLI_SERVER_WORKERS=2 php -S "127.0.0.1:$port" -t www > php.log 2>&1 &
    until curl -sf "http://127.0.0.1:$port/none.html" -o none || [ $? = 22 ]; do sleep 0.05; done
    last=0
    until [ -e stop ]; do
        n=$(curl -sf "http://127.0.0.1:$port/i.php") || fail "php does not answer"
        [ "$n" = $((last + 1)) ] || fail "expected $((last + 1)), got $n"
        last=$n
        echo "$n" > count.new
        mv count.new count
    done
    kill %1
    wait || true
}
phase "$1"
