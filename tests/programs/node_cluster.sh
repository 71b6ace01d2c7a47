#!/bin/bash
# node's cluster: three workers that share a port, counted over IPC by their parent, and a client inside.
. "$(dirname "$0")/common.sh"
have() { need node; }
run() {
    cat > job.js <<'J'
const cluster = require("cluster"), http = require("http"), fs = require("fs");
const port = Number(process.argv[2]);
if (cluster.isMaster) {
    let told = 0, up = 0, n = 0;
    for (let i = 0; i < 3; i++) cluster.fork().on("message", () => told++);
    cluster.on("exit", (w, code, signal) => { if (!fs.existsSync("stop")) { console.error(`FAIL: worker ${w.id} ended ${code} ${signal}`); process.exit(1); } });
    const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
    const get = () => new Promise((ok, no) => http.get({ port, host: "127.0.0.1", agent }, r => { let b = ""; r.on("data", d => b += d); r.on("end", () => ok(b)); }).on("error", no));
    cluster.on("listening", async () => {
        if (++up < 3) return;
        try {
            while (!fs.existsSync("stop")) {
                const all = await Promise.all([get(), get(), get(), get()]);
                if (!all.every(b => /^worker [123] hits \d+$/.test(b))) throw new Error(all.join());
                n += 4;
                fs.writeFileSync("count.new", "" + n);
                fs.renameSync("count.new", "count");
            }
            while (told < n) await new Promise(ok => setTimeout(ok, 5));
        } catch (e) { console.error("FAIL: " + e); process.exit(1); }
        process.exit(0);
    });
} else {
    let hits = 0;
    http.createServer((q, r) => { process.send(++hits); r.end(`worker ${cluster.worker.id} hits ${hits}`); }).listen(port, "127.0.0.1");
}
J
    exec node job.js "$port"
}
phase "$1"
