#!/bin/bash
# A Jupyter kernel (IPython over ZeroMQ) that keeps its variables, asked by a client from outside.
. "$(dirname "$0")/common.sh"
py=/usr/bin/python3
have() { $py -c 'import ipykernel, jupyter_client' 2>/dev/null || skip "jupyter is not installed"; }
run() { export IPYTHONDIR=$PWD/ip; exec $py -m ipykernel_launcher -f "$PWD/k.json" ; }
ask_() {
    $py - "$1" "$2" <<'P'
import sys
from jupyter_client import BlockingKernelClient
c = BlockingKernelClient(connection_file="k.json"); c.load_connection_file(); c.start_channels()
c.wait_for_ready(timeout=30)
out = []
c.execute_interactive(sys.argv[1], timeout=30, output_hook=lambda m: out.append(m["content"].get("text", "")))
c.stop_channels()
sys.exit(0 if "".join(out).strip() == sys.argv[2] else f"FAIL: {out}")
P
}
before() { await test -s k.json; ask_ "import threading; x = 1; print(x)" 1; echo 1 > x; }
after() { n=$(($(cat x) + 1)); ask_ "x += 1; print(x)" $n || fail "no answer"; echo $n > x; }
stop() { $py - <<'P'
from jupyter_client import BlockingKernelClient
c = BlockingKernelClient(connection_file="k.json"); c.load_connection_file(); c.start_channels(); c.wait_for_ready(timeout=30); c.shutdown(); c.stop_channels()
P
}
phase "$1"
