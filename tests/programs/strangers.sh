#!/bin/bash
# Three servers with clients of their own, and strangers from outside that try to connect all the time, also while the
# computation is restarted: nobody gets the connection of another.
. "$(dirname "$0")/common.sh"
have() { need python3; }
run() {
    python3 -u - "$PWD/s" "$port" <<'EOF'
import os, selectors, socket, sys
from counting import reached
path, port = sys.argv[1], int(sys.argv[2])
addresses = [(socket.AF_UNIX, path), (socket.AF_UNIX, "\0" + path), (socket.AF_INET, ("127.0.0.1", port))]
events, pairs, strangers = selectors.DefaultSelector(), [], []
for family, address in addresses:
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(address)
    server.listen(64)
    for _ in range(12):
        client = socket.socket(family)
        client.connect(address)
        pairs.append((client, server.accept()[0]))
    server.setblocking(False)
    events.register(server, selectors.EVENT_READ)
open("ready", "w").close()
count = 0
while not os.path.exists("stop"):
    for number, (client, accepted) in enumerate(pairs):
        word = b"%d-%d" % (number, count)
        client.sendall(word)
        assert accepted.recv(64) == word
        accepted.sendall(word)
        assert client.recv(64) == word
    for key, _ in events.select(0.001):
        try:
            stranger = key.fileobj.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            continue
        strangers.append(stranger)
        stranger.setblocking(True)
        try:
            stranger.sendall(b"hello stranger")
        except OSError:
            pass
    while len(strangers) > 20:
        strangers.pop(0).close()
    count += 1
    reached(count)
EOF
}
before() {
    await test -e ready
    await test -s count
    [ -e knocking ] && return
    touch knocking
    python3 - "$PWD/s" "$port" >/dev/null 2>&1 </dev/null <<'EOF' &
import os, socket, sys, time
open("/proc/self/comm", "w").write("outside")
path, port = sys.argv[1], int(sys.argv[2])
addresses = [(socket.AF_UNIX, path), (socket.AF_UNIX, "\0" + path), (socket.AF_INET, ("127.0.0.1", port))]
kept = []
while not os.path.exists("stop") and os.path.exists("knocking"):
    for family, address in addresses:
        caller = socket.socket(family)
        caller.setblocking(False)
        try:
            caller.connect(address)
        except OSError:
            pass
        kept.append(caller)
    while len(kept) > 30:
        kept.pop(0).close()
    time.sleep(0.0002)
EOF
}
phase "$1"
