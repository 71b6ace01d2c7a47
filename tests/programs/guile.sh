#!/bin/bash
# guile with threads, a hash table and a pipe to a child.
. "$(dirname "$0")/common.sh"
have() { need guile; }
run() {
    cat > job.scm <<'S'
(use-modules (ice-9 threads) (ice-9 popen) (ice-9 rdelim))
(define (square x) (* x x))
(let loop ((n 1))
  (unless (file-exists? "stop")
    (unless (equal? (par-map square (iota 20)) (map square (iota 20))) (exit 1))
    (when (zero? (modulo n 10))
      (let* ((p (open-input-pipe (format #f "echo ~a" n))) (l (read-line p)))
        (close-pipe p) (unless (equal? l (number->string n)) (exit 2))))
    (call-with-output-file "count.new" (lambda (f) (display n f)))
    (rename-file "count.new" "count")
    (loop (+ n 1))))
S
    exec guile --no-auto-compile job.scm
}
phase "$1"
