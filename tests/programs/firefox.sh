#!/bin/bash
# Firefox, headless and without its sandboxes, asked over Marionette.
. "$(dirname "$0")/common.sh"
have() { need firefox-esr python3; }
run() {
    mkdir -p prof
    echo '<script>n = 0; setInterval(() => { n++ }, 20)</script>' > page.html
    export HOME="$PWD"
    echo "user_pref('marionette.port', $port);" > prof/user.js
    export MOZ_DISABLE_CONTENT_SANDBOX=1 MOZ_DISABLE_GMP_SANDBOX=1 MOZ_DISABLE_RDD_SANDBOX=1 MOZ_ASSUME_USER_NS=0 \
        MOZ_DISABLE_SOCKET_PROCESS_SANDBOX=1 MOZ_DISABLE_UTILITY_SANDBOX=1 MOZ_DISABLE_NPAPI_SANDBOX=1
    exec firefox-esr --headless --marionette --no-remote --profile "$PWD/prof" > f.log 2>&1
}
mari() {
    timeout 60 python3 - "$port" "$1" <<'P'
import os, socket, json, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
f = s.makefile("rb")
def msg():
    n = b""
    while (c := f.read(1)) != b":":
        if not c:
            sys.exit("firefox has closed the connection")
        n += c
    return json.loads(f.read(int(n)))
k = 0
def ask(cmd, arg):
    global k
    k += 1
    d = json.dumps([0, k, cmd, arg])
    s.sendall(f"{len(d)}:{d}".encode())
    r = msg()
    if r[2]:
        sys.exit(f"{cmd}: {r[2]}")
    return r[3]
msg()
ask("WebDriver:NewSession", {})
if sys.argv[2] == "go":
    ask("WebDriver:Navigate", {"url": "file://" + os.getcwd() + "/page.html"})
v = ask("WebDriver:ExecuteScript", {"script": "return window.wrappedJSObject ? window.wrappedJSObject.n : n", "args": []})
print(v["value"])
if sys.argv[2] == "quit":
    ask("Marionette:Quit", {"flags": ["eForceQuit"]})
else:
    ask("WebDriver:DeleteSession", {})
P
}
first() { mari go > first 2> first.err; }
up() { mari more > up.log; }
before() { await first; }
after() {
    was=$(mari more)
    now=$(mari more)
    [ "$now" -gt "$was" ] || fail "the page stands at $was"
}
stop() { mari quit; }
phase "$1"
