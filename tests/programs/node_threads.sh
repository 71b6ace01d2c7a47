#!/bin/bash
# node with worker threads, child processes that answer over IPC, and a shared buffer.
. "$(dirname "$0")/common.sh"
have() { need node; }
run() {
    cat > job.js <<'J'
const { Worker, isMainThread, workerData, parentPort } = require("worker_threads");
const { fork } = require("child_process");
const fs = require("fs");
if (!isMainThread) {
    const shared = new Int32Array(workerData);
    parentPort.on("message", n => { Atomics.add(shared, 0, n); parentPort.postMessage(n * n); });
} else if (process.argv[2] === "child") {
    process.on("message", n => process.send(n + 1));
} else {
    const memory = new SharedArrayBuffer(4), shared = new Int32Array(memory);
    const workers = [1, 2].map(() => new Worker(__filename, { workerData: memory })), child = fork(__filename, ["child"]);
    const answer = (from, n) => new Promise(done => { from.once("message", done); from.postMessage ? from.postMessage(n) : from.send(n); });
    (async () => {
        for (let n = 1, sum = 0; !fs.existsSync("stop"); n++) {
            const [a, b, c] = await Promise.all([answer(workers[0], n), answer(workers[1], n), answer(child, n)]);
            sum = (sum + 2 * n) | 0;
            if (a !== n * n || b !== n * n || c !== n + 1 || shared[0] !== sum) { console.error(`${n}: ${a} ${b} ${c} ${shared[0]} ${sum}`); process.exit(1); }
            fs.writeFileSync("count.new", "" + n);
            fs.renameSync("count.new", "count");
        }
        workers.forEach(w => w.terminate());
        child.kill();
    })();
}
J
    exec node job.js
}
phase "$1"
