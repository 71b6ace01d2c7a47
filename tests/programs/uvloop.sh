#!/bin/bash
# Python's asyncio on uvloop (libuv): a server, clients, children and timers in one loop.
. "$(dirname "$0")/common.sh"
py=/usr/bin/python3
have() { $py -c 'import uvloop' 2>/dev/null || skip "uvloop is not installed"; }
run() {
    cat > job.py <<'P'
import asyncio, os, uvloop
async def serve(r, w):
    while line := await r.readline():
        w.write(line.upper()); await w.drain()
    w.close()
async def client(port, name):
    r, w = await asyncio.open_connection("127.0.0.1", port)
    k = 0
    while not os.path.exists("stop"):
        k += 1
        w.write(f"{name} {k}\n".encode()); await w.drain()
        a = await r.readline()
        if a != f"{name} {k}\n".upper().encode(): raise SystemExit(f"FAIL: {a} after {k}")
        counts[name] = k
        await asyncio.sleep(0.001)
    w.close()
async def child():
    while not os.path.exists("stop"):
        p = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
        out, _ = await p.communicate()
        if out != b"hi\n" or p.returncode: raise SystemExit(f"FAIL: {out} {p.returncode}")
        counts["child"] += 1
async def thread():
    while not os.path.exists("stop"):
        if await asyncio.to_thread(sum, range(1000)) != 499500: raise SystemExit("FAIL: sum")
        counts["thread"] += 1
counts = {"a": 0, "b": 0, "child": 0, "thread": 0}
async def tell():
    was = dict(counts); n = 0
    while not os.path.exists("stop"):
        await asyncio.sleep(0.01)
        if all(counts[k] > was[k] for k in counts):
            was = dict(counts); n += 1
            open("count.new", "w").write(str(n)); os.rename("count.new", "count")
async def main():
    s = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = s.sockets[0].getsockname()[1]
    await asyncio.gather(client(port, "a"), client(port, "b"), child(), thread(), tell())
uvloop.install()
asyncio.run(main())
P
    exec $py job.py
}
phase "$1"
