#!/bin/bash
# A recent JVM with virtual threads, an HTTP server and a client of its own, and generational ZGC.
. "$(dirname "$0")/common.sh"
java=$(ls /usr/lib/jvm/*-2[1-9]-*/bin/java 2>/dev/null | tail -1 || true)
have() { [ -x "$java" ] || skip "no recent JDK"; }
run() {
    cat > Job.java <<'T'
import java.net.*; import java.net.http.*; import java.nio.file.*;
import java.util.*; import java.util.concurrent.*; import java.util.concurrent.atomic.*;
import com.sun.net.httpserver.*;
public class Job {
    public static void main(String[] a) throws Exception {
        HttpServer s = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 16);
        AtomicLong hits = new AtomicLong();
        s.createContext("/", x -> {
            byte[] b = ("hits " + hits.incrementAndGet()).getBytes();
            x.sendResponseHeaders(200, b.length);
            x.getResponseBody().write(b);
            x.close();
        });
        s.setExecutor(Executors.newVirtualThreadPerTaskExecutor());
        s.start();
        HttpClient c = HttpClient.newHttpClient();
        URI u = URI.create("http://127.0.0.1:" + s.getAddress().getPort() + "/");
        for (long n = 1; !Files.exists(Path.of("stop")); n++) {
            try (ExecutorService e = Executors.newVirtualThreadPerTaskExecutor()) {
                List<Future<Integer>> all = new ArrayList<>();
                for (int i = 0; i < 50; i++) {
                    int k = i;
                    all.add(e.submit(() -> { Thread.sleep(1); return k; }));
                }
                int sum = 0;
                for (Future<Integer> f : all) sum += f.get();
                if (sum != 1225) throw new Exception("sum " + sum);
            }
            String b = c.send(HttpRequest.newBuilder(u).build(), HttpResponse.BodyHandlers.ofString()).body();
            if (!b.equals("hits " + n)) throw new Exception(b + " in turn " + n);
            Files.writeString(Path.of("count.new"), "" + n);
            Files.move(Path.of("count.new"), Path.of("count"), StandardCopyOption.ATOMIC_MOVE);
        }
        System.exit(0);
    }
}
T
    exec "$java" -XX:+UseZGC -Xmx128m Job.java
}
phase "$1"
