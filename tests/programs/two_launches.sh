#!/bin/bash
# A server and a client that were launched one by one, under the same coordinator: what they share comes back, too.
. "$(dirname "$0")/common.sh"
have() { need python3; }
run() {
    python3 -u - "$PWD/s" "$port" <<'EOF'
import mmap, os, socket, sys, threading
path, port = sys.argv[1], int(sys.argv[2])
with open("shared", "wb") as f:
    f.truncate(4096)
page = mmap.mmap(os.open("shared", os.O_RDWR), 4096)
def serve(family, address):
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(address)
    server.listen(8)
    open("ready.%d" % family, "w").close()
    peer = server.accept()[0]
    while True:
        word = b""
        while len(word) < 40000:
            part = peer.recv(40000 - len(word))
            if not part:
                return
            word += part
        page[0] = (page[0] + 1) % 256
        peer.sendall(word[::-1])
threads = [threading.Thread(target=serve, args=a) for a in ((socket.AF_UNIX, path), (socket.AF_INET, ("127.0.0.1", port)))]
for t in threads:
    t.start()
for t in threads:
    t.join()
EOF
}
client() {
    exec python3 -u - "$PWD/s" "$port" <<'EOF'
import mmap, os, socket, sys
from counting import reached
path, port = sys.argv[1], int(sys.argv[2])
page = mmap.mmap(os.open("shared", os.O_RDWR), 4096)
peers = []
for family, address in ((socket.AF_UNIX, path), (socket.AF_INET, ("127.0.0.1", port))):
    peers.append(socket.socket(family))
    peers[-1].connect(address)
count = 0
while not os.path.exists("stop"):
    for peer in peers:
        word, back, was = os.urandom(40000), b"", page[0]
        peer.sendall(word)
        while len(back) < len(word):
            back += peer.recv(100000)
        assert back[::-1] == word
        assert page[0] != was
    count += 1
    reached(count)
EOF
}
before() {
    await test -e ready.1 -a -e ready.2
    local bin=$GUEST_EXAMPLES/.. launch=
    "$bin/ckpt_command" --coord-port "$GUEST_UNIQUE" --status > status 2>&1 &&
        launch="$bin/ckpt_launch --coord-port $GUEST_UNIQUE --ckptdir $GUEST_DIR/../images"
    # shellcheck disable=SC2086
    $launch "$0" client > client.log 2>&1 < /dev/null &
    await test -s count
    # The agent of the first looks after the second.
    [ -z "$launch" ] || await has_two
}
has_two() { [ "$("$GUEST_EXAMPLES/../ckpt_command" --coord-port "$GUEST_UNIQUE" --list | wc -l)" -ge 3 ]; }
phase "$1"
