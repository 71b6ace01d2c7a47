#!/bin/bash
# Python's multiprocessing: a manager, a pool with shared memory, locks and queues; concurrent.futures beside it.
. "$(dirname "$0")/common.sh"
py=/usr/bin/python3
have() { need $py; }
run() {
    cat > job.py <<'P'
import os, multiprocessing as mp
from multiprocessing import shared_memory
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
def sq(x): return x * x
def worker(q, r, lock, v):
    while (x := q.get()) is not None:
        with lock: v.value += 1
        r.put(x * 2)
if __name__ == "__main__":
    mp.set_start_method(os.environ.get("METHOD", "forkserver"))
    m = mp.Manager(); d = m.dict(); q, r, lock, v = mp.Queue(), mp.Queue(), mp.Lock(), mp.Value("i", 0)
    w = [mp.Process(target=worker, args=(q, r, lock, v)) for _ in range(2)]
    [p.start() for p in w]
    shm = shared_memory.SharedMemory(create=True, size=4096)
    ex, tx = ProcessPoolExecutor(2), ThreadPoolExecutor(2); n = 0
    while not os.path.exists("stop"):
        n += 1
        if sum(ex.map(sq, range(10))) != 285: raise SystemExit("FAIL: processes")
        if sum(tx.map(sq, range(10))) != 285: raise SystemExit("FAIL: threads")
        [q.put(i) for i in range(10)]
        if sum(r.get() for _ in range(10)) != 90: raise SystemExit("FAIL: queue")
        if v.value != 10 * n: raise SystemExit(f"FAIL: value {v.value}")
        d["n"] = n
        if d["n"] != n: raise SystemExit("FAIL: manager")
        shm.buf[n % 4096] = n % 256
        open("count.new", "w").write(str(n)); os.rename("count.new", "count")
    [q.put(None) for _ in w]; [p.join() for p in w]
    ex.shutdown(); tx.shutdown(); m.shutdown(); shm.close(); shm.unlink()
P
    exec $py job.py
}
phase "$1"
