#!/bin/bash
# Threads, a subprocess, multiprocessing with a queue and a lock.
. "$(dirname "$0")/common.sh"
have() { need python3; }
run() {
    cat > job.py <<'P'
import multiprocessing, os, queue, subprocess, sys, threading, time
from counting import reached
def square(inbox, outbox):
    for n in iter(inbox.get, None):
        outbox.put(n * n)
if __name__ == "__main__":
    inbox, outbox = multiprocessing.Queue(), multiprocessing.Queue()
    worker = multiprocessing.Process(target=square, args=(inbox, outbox))
    worker.start()
    cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    jobs, done = queue.Queue(), queue.Queue()
    def double():
        for n in iter(jobs.get, None):
            done.put(n * 2)
    threads = [threading.Thread(target=double) for _ in range(4)]
    for t in threads:
        t.start()
    n = 0
    while not os.path.exists("stop"):
        n += 1
        inbox.put(n)
        assert outbox.get() == n * n
        jobs.put(n)
        assert done.get() == n * 2
        cat.stdin.write(b"%d\n" % n)
        cat.stdin.flush()
        assert int(cat.stdout.readline()) == n
        reached(n)
    for _ in threads:
        jobs.put(None)
    for t in threads:
        t.join()
    inbox.put(None)
    worker.join()
    cat.stdin.close()
    sys.exit(cat.wait() or worker.exitcode)
P
    exec python3 job.py
}
phase "$1"
