#!/bin/bash
# Python's asyncio: a TCP echo server and clients, subprocesses with pipes, threads, timers, ctypes.
. "$(dirname "$0")/common.sh"
py=${py:-python3} loop=${loop:-asyncio}
have() { need "$py"; "$py" -c "import $loop" 2>/dev/null || skip "$loop is not installed"; }
run() {
    cat > job.py <<'P'
import asyncio, ctypes, os, sys
from counting import reached
libc = ctypes.CDLL(None)
if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.install()
async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()
async def client(port, turns):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    n = 0
    while not os.path.exists("stop"):
        n += 1
        writer.write(b"%d\n" % n)
        await writer.drain()
        assert int(await reader.readline()) == n
        turns.append(n)
        if len(turns) % 50 == 0:
            await asyncio.sleep(0.001)
    writer.close()
async def filter_(turns):
    while not os.path.exists("stop"):
        p = await asyncio.create_subprocess_exec("tr", "a-z", "A-Z", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        out, _ = await p.communicate(b"hello" * 20000)
        assert out == b"HELLO" * 20000 and p.returncode == 0
        turns.append(0)
async def worker(turns):
    while not os.path.exists("stop"):
        assert await asyncio.to_thread(sum, range(10000)) == 49995000
        assert libc.getpid() == os.getpid()
        turns.append(0)
async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kinds = [[] for _ in range(3)]
    jobs = [client(port, kinds[0]) for _ in range(5)] + [filter_(kinds[1]), worker(kinds[2])]
    jobs = [asyncio.ensure_future(j) for j in jobs]
    while not os.path.exists("stop"):
        for j in jobs:
            if j.done(): j.result()
        reached(min(map(len, kinds)))
        await asyncio.sleep(0.005)
    await asyncio.gather(*jobs)
asyncio.run(main())
P
    exec "$py" job.py "$loop"
}
phase "$1"
