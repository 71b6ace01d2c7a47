#!/bin/bash
# A python program that checkpoints itself by the module in python/, with sections that no checkpoint may cut.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")/../.." && pwd)
have() { need python3; test -r "$here/python/ckpt/__init__.py" || skip "the checkout is not readable"; }
run() {
    cat > job.py <<'P'
import os
import ckpt

def write(name, n):
    with open(name + ".new", "w") as f:
        f.write(str(n))
    os.rename(name + ".new", name)

n = seen = 0
while not os.path.exists("stop"):
    n += 1
    with ckpt.delayed():
        write("left", n)
        write("right", n)
    if n % 50 == 0 and ckpt.enabled():
        before = ckpt.restarts()
        if ckpt.checkpoint() == ckpt.RESTARTED:
            assert ckpt.restarts() == before + 1
        status = ckpt.status()
        assert status.generation > 0 and status.ready and len(status.computation) == 32, status
        assert status.restarts == ckpt.restarts(), status
        seen += 1
    assert open("left").read() == open("right").read() == str(n), "cut in two"
    write("count", n)
if not ckpt.enabled():
    try:
        ckpt.checkpoint()
        raise SystemExit("a checkpoint by nobody")
    except ckpt.CheckpointError as why:
        assert str(why) == "not started by ckpt_launch"
    assert ckpt.restarts() == 0 and ckpt.status() is None
P
    PYTHONPATH="$here/python" exec python3 job.py
}
phase "$1"
