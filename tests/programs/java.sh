#!/bin/bash
# A JVM with threads, garbage collection and a counter.
. "$(dirname "$0")/common.sh"
have() { need java javac; }
run() {
    cat > Job.java <<'J'
import java.nio.file.*; import java.util.*; import java.util.concurrent.*; import java.util.concurrent.atomic.*;
public class Job {
    public static void main(String[] a) throws Exception {
        AtomicLong n = new AtomicLong();
        ExecutorService pool = Executors.newFixedThreadPool(3);
        List<Future<Long>> all = new ArrayList<>();
        while (!Files.exists(Path.of("stop"))) {
            all.clear();
            for (int i = 0; i < 3; i++) all.add(pool.submit(() -> { long s = 0; for (int k = 0; k < 1000; k++) s += new ArrayList<>(List.of(k)).get(0); return s; }));
            for (Future<Long> f : all) if (f.get() != 499500) throw new Exception("sum " + f.get());
            Files.writeString(Path.of("count.new"), "" + n.incrementAndGet());
            Files.move(Path.of("count.new"), Path.of("count"), StandardCopyOption.ATOMIC_MOVE);
        }
        pool.shutdown();
    }
}
J
    javac Job.java
    exec java -Xmx128m Job
}
phase "$1"
