#!/bin/bash
# Mono with threads, tasks and its collector.
. "$(dirname "$0")/common.sh"
have() { need mono mcs; }
run() {
    cat > job.cs <<'C'
using System; using System.IO; using System.Linq; using System.Threading.Tasks; using System.Diagnostics;
class Job {
    static void Main() {
        for (int n = 1; !File.Exists("stop"); n++) {
            var tasks = Enumerable.Range(0, 4).Select(i => Task.Run(() => Enumerable.Range(0, 1000).Select(k => k.ToString()).Sum(s => s.Length))).ToArray();
            Task.WaitAll(tasks);
            if (tasks.Any(t => t.Result != 2890)) Environment.Exit(1);
            if (n % 20 == 0) { GC.Collect(); var p = Process.Start("true"); p.WaitForExit(); if (p.ExitCode != 0) Environment.Exit(2); }
            File.WriteAllText("count.new", n.ToString());
            File.Delete("count"); File.Move("count.new", "count");
        }
    }
}
C
    mcs job.cs
    exec mono job.exe
}
grows() { # the file is away for moments
    was=$(cat "$1" 2> /dev/null || true)
    was=${was:-0} now=$was
    while [ "$now" -le "$was" ]; do sleep 0.01; now=$(cat "$1" 2> /dev/null || true); now=${now:-$was}; done
}
phase "$1"
