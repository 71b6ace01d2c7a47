#!/bin/bash
# A Go program with cgo: goroutines, an HTTP server and its client, timers, a child process.
. "$(dirname "$0")/common.sh"
have() { need go gcc; }
run() {
    cat > job.go <<'G'
package main

// static int twice(int n) { return n * 2; }
import "C"
import ("fmt"; "io"; "net"; "net/http"; "os"; "os/exec"; "runtime"; "strings"; "sync"; "time")

func must(err error) { if err != nil { fmt.Fprintln(os.Stderr, err); os.Exit(1) } }
func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "got "+r.URL.Path) })
	l, err := net.Listen("tcp", "127.0.0.1:0"); must(err)
	go http.Serve(l, nil)
	tick := time.NewTicker(time.Millisecond)
	for n := 1; ; n++ {
		if _, err := os.Stat("stop"); err == nil { return }
		var wg sync.WaitGroup
		sum := make(chan int, 8)
		for i := 0; i < 8; i++ { wg.Add(1); go func(i int) { defer wg.Done(); sum <- int(C.twice(C.int(i))) }(i) }
		wg.Wait(); close(sum)
		total := 0
		for s := range sum { total += s }
		if total != 56 { must(fmt.Errorf("sum %d", total)) }
		r, err := http.Get(fmt.Sprintf("http://%s/%d", l.Addr(), n)); must(err)
		b, err := io.ReadAll(r.Body); must(err); r.Body.Close()
		if string(b) != fmt.Sprintf("got /%d", n) { must(fmt.Errorf("answer %s", b)) }
		if n%20 == 0 { out, err := exec.Command("echo", "hi").Output(); must(err); if strings.TrimSpace(string(out)) != "hi" { os.Exit(2) }; runtime.GC() }
		<-tick.C
		must(os.WriteFile("count.new", []byte(fmt.Sprint(n)), 0644)); must(os.Rename("count.new", "count"))
	}
}
G
    HOME=$PWD GOFLAGS=-mod=mod GO111MODULE=off CGO_ENABLED=1 go build -o job job.go
    exec ./job
}
phase "$1"
