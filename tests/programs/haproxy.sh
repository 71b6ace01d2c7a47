#!/bin/bash
# haproxy in front of two python servers, with a client inside that keeps its connection, and clients from outside.
. "$(dirname "$0")/common.sh"
have() { need haproxy python3; }
run() {
    cat > s.py <<'P'
import sys, http.server
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        b = (sys.argv[3] + " " + self.path + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(b)))
        self.end_headers()
        self.wfile.write(b)
    def log_message(self, *a):
        pass
http.server.ThreadingHTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), H).serve_forever()
P
    cat > c.py <<'P'
import sys, os, http.client
from counting import reached
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
n = 0
while not os.path.exists("stop"):
    n += 1
    c.request("GET", f"/{n}")
    r = c.getresponse()
    b = r.read().decode()
    if r.status != 200 or b.split()[1] != f"/{n}":
        sys.exit(f"{r.status} {b}")
    reached(n)
P
    cat > h.cfg <<C
global
    stats socket $PWD/admin level admin
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    retries 3
frontend f
    bind 127.0.0.1:$port
    default_backend b
backend b
    balance roundrobin
    option httpchk GET /
    server one 127.0.0.2:$port check inter 500
    server two 127.0.0.3:$port check inter 500
C
    python3 s.py 127.0.0.2 "$port" one &
    one=$!
    python3 s.py 127.0.0.3 "$port" two &
    two=$!
    await open 127.0.0.2
    await open 127.0.0.3
    haproxy -db -f h.cfg > h.log 2>&1 &
    proxy=$!
    await up
    python3 c.py "$port"
    kill $proxy $one $two
    wait || true
}
open() { : <> "/dev/tcp/$1/$port"; }
up() { ask 'GET /hello HTTP/1.0\r\n\r\n' 30 | grep -q '/hello'; }
before() { await test -s count; await up; }
after() { for _ in 1 2 3 4; do up || fail "no answer"; done; grows count; }
phase "$1"
