#!/bin/bash
# The Python module as a user installs it, with pip from the repository into a fresh venv; no network is needed.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")/../.." && pwd)
have() {
    need python3
    python3 -c 'import ensurepip, venv' 2> /dev/null || skip "python3-venv is not installed"
    test -r "$here/python/ckpt/__init__.py" || skip "the checkout is not readable"
}
run() {
    if [ ! -e venv/installed ]; then
        python3 -m venv venv
        cp -r "$here/python" source
        venv/bin/pip install -q --no-index ./source
        touch venv/installed
    fi
    cat > job.py <<'P'
import os
import ckpt
from counting import reached

assert "/venv/" in ckpt.__file__, ckpt.__file__
n = 0
while not os.path.exists("stop"):
    n += 1
    if n % 50 == 0 and ckpt.enabled():
        before = ckpt.restarts()
        assert ckpt.checkpoint() in (ckpt.RESUMED, ckpt.RESTARTED)
        assert ckpt.restarts() in (before, before + 1)
    reached(n)
P
    exec venv/bin/python job.py
}
phase "$1"
