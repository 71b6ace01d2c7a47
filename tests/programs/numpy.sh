#!/bin/bash
# NumPy with OpenBLAS threads multiplying matrices.
. "$(dirname "$0")/common.sh"
have() { need python3; python3 -c 'import numpy' 2> /dev/null || skip "numpy is not installed"; }
run() {
    cat > job.py <<'P'
import numpy, os
from counting import reached
rng = numpy.random.default_rng(7)
a = rng.standard_normal((300, 300))
inverse = numpy.linalg.inv(a)
n = 0
while not os.path.exists("stop"):
    n += 1
    assert numpy.allclose(a @ inverse, numpy.eye(300), atol=1e-6)
    u, s, v = numpy.linalg.svd(a[:80, :80])
    assert numpy.allclose((u * s) @ v, a[:80, :80])
    reached(n)
P
    OPENBLAS_NUM_THREADS=4 exec python3 job.py
}
phase "$1"
