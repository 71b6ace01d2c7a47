#!/bin/bash
# One JVM for each collector (serial, parallel, G1, ZGC, Shenandoah), all allocating while the checkpoint comes.
. "$(dirname "$0")/common.sh"
collectors="Serial Parallel G1 Z Shenandoah"
have() { need java javac; }
run() {
    cat > Gc.java <<'J'
import java.nio.file.*; import java.util.*;
public class Gc {
    public static void main(String[] a) throws Exception {
        Map<Integer, byte[]> live = new HashMap<>();
        for (int n = 1; !Files.exists(Path.of("stop")); n++) {
            for (int i = 0; i < 200; i++) {
                byte[] b = new byte[5000];
                Arrays.fill(b, (byte) (n + i));
                live.put((n * 31 + i) % 1500, b);
            }
            for (byte[] b : live.values()) if (b[0] != b[4999]) throw new Exception("memory");
            Path t = Path.of(a[0] + ".new");
            Files.writeString(t, "" + n);
            Files.move(t, Path.of(a[0]), StandardCopyOption.ATOMIC_MOVE);
        }
    }
}
J
    javac Gc.java
    for gc in $collectors; do
        java -Xmx48m -XX:+Use${gc}GC Gc "count.$gc" &
    done
    for _ in $collectors; do wait -n || fail "a virtual machine failed"; done
}
before() { for gc in $collectors; do await test -s count.$gc; done; }
after() { for gc in $collectors; do grows count.$gc; done; }
phase "$1"
