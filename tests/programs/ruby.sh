#!/bin/bash
# Ruby with threads, a forked worker behind a socket pair, a TCP server and a queue.
. "$(dirname "$0")/common.sh"
have() { need ruby; }
run() {
    cat > job.rb <<'R'
require "socket"
a, b = UNIXSocket.pair
worker = fork { a.close; while (l = b.gets); b.puts(l.to_i * 3); end; exit!(0) }
b.close
server = TCPServer.new("127.0.0.1", 0)
Thread.new { loop { c = server.accept; Thread.new { while (l = c.gets); c.puts l.reverse.strip; end; c.close } } }
jobs, done = Queue.new, Queue.new
4.times { Thread.new { while (n = jobs.pop); done << n * 2; end } }
client = TCPSocket.new("127.0.0.1", server.addr[1])
n = 0
until File.exist?("stop")
  n += 1
  a.puts n
  raise "worker" unless a.gets.to_i == n * 3
  client.puts "x#{n}"
  raise "echo" unless client.gets.strip == "x#{n}".reverse
  jobs << n
  raise "thread" unless done.pop == n * 2
  raise "shell" unless n % 20 != 0 || `echo #{n}`.to_i == n
  GC.start if n % 100 == 0
  File.write("count.new", n.to_s)
  File.rename("count.new", "count")
end
a.close
Process.wait worker
exit $?.exitstatus
R
    exec ruby job.rb
}
phase "$1"
