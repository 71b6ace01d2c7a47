#!/bin/bash
# SBCL with threads, consing so that its collector runs.
. "$(dirname "$0")/common.sh"
have() { need sbcl; }
run() {
    cat > job.lisp <<'L'
(defun work (n) (let ((h (make-hash-table))) (dotimes (i 2000) (setf (gethash i h) (list i n))) (hash-table-count h)))
(loop for n from 1 until (probe-file "stop") do
  (let ((threads (loop repeat 3 collect (sb-thread:make-thread #'work :arguments (list n)))))
    (unless (equal '(2000 2000 2000) (mapcar #'sb-thread:join-thread threads)) (sb-ext:exit :code 1)))
  (when (zerop (mod n 20)) (gc :full t)
    (unless (zerop (sb-ext:process-exit-code (sb-ext:run-program "/bin/true" nil))) (sb-ext:exit :code 2)))
  (with-open-file (f "count" :direction :output :if-exists :supersede) (princ n f)))
L
    exec sbcl --script job.lisp
}
grows() { # the file is away for moments
    was=$(cat "$1" 2> /dev/null || true)
    was=${was:-0} now=$was
    while [ "$now" -le "$was" ]; do sleep 0.01; now=$(cat "$1" 2> /dev/null || true); now=${now:-$was}; done
}
phase "$1"
