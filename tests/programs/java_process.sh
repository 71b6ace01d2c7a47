#!/bin/bash
# Java and a subprocess: handles know processes by id and by when they began, before and after every restart.
. "$(dirname "$0")/common.sh"
have() { need java javac; }
run() {
    cat > Job.java <<'J'
import java.nio.file.*;
import java.util.concurrent.TimeUnit;

public class Job {
    static void check(boolean holds, String what) {
        if (!holds) {
            System.err.println(what);
            System.exit(1);
        }
    }

    public static void main(String[] args) throws Exception {
        Process child = new ProcessBuilder("sleep", "10000").start();
        ProcessHandle own = ProcessHandle.current(), handle = child.toHandle();
        for (int n = 1; !Files.exists(Path.of("stop")); n++) {
            check(own.isAlive() && handle.isAlive() && child.isAlive(), "a process is taken for another one");
            check(handle.parent().map(own::equals).orElse(false), "its parent");
            check(own.children().anyMatch(handle::equals), "its children");
            check(ProcessHandle.of(child.pid()).map(handle::equals).orElse(false), "the same by its id");
            Files.writeString(Path.of("count.new"), "" + n);
            Files.move(Path.of("count.new"), Path.of("count"), StandardCopyOption.ATOMIC_MOVE);
        }
        child.destroy();
        check(child.waitFor(30, TimeUnit.SECONDS) && child.exitValue() == 143, "it cannot be ended");
    }
}
J
    javac Job.java
    exec java -cp . Job
}
phase "$1"
