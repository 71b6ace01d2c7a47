#!/bin/bash
# An HTTP server in node with timers and state.
. "$(dirname "$0")/common.sh"
have() { need node; }
run() {
    cat > job.js <<'J'
const http = require("http"), fs = require("fs");
let hits = 0, ticks = 0;
const timer = setInterval(() => { ticks++; if (fs.existsSync("stop")) { clearInterval(timer); server.close(); server.closeAllConnections(); } }, 10);
const server = http.createServer((q, r) => { hits++; r.setHeader("Connection", "close"); r.end(`hits ${hits} ticks ${ticks > 0}\n`); });
server.listen(Number(process.argv[2]), "127.0.0.1");
J
    exec node job.js "$port"
}

up() { ask "GET / HTTP/1.0\r\n\r\n" 20 | grep -q "^hits"; }
before() { await up; echo 1 > hits; }
after() {
    ask 'GET / HTTP/1.0\r\n\r\n' 20 > answer
    n=$(sed -n 's/^hits \([0-9]*\) .*/\1/p' answer)
    [ "${n:-0}" -gt "$(cat hits)" ] || fail "hits, expected more than $(cat hits), got ${n:-none}"
    echo "$n" > hits
}
phase "$1"
