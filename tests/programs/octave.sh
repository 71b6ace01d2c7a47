#!/bin/bash
# Octave with matrices.
. "$(dirname "$0")/common.sh"
have() { need octave-cli; }
run() {
    cat > job.m <<'M'
a = rand(150) + 150 * eye(150); n = 0;
while (! exist("stop", "file"))
  n++;
  assert (norm (a * inv (a) - eye (150)) < 1e-6);
  assert (norm (ifft (fft (a)) - a) < 1e-6);
  f = fopen ("count.new", "w"); fprintf (f, "%d", n); fclose (f); rename ("count.new", "count");
end
M
    exec octave-cli --no-gui --no-history job.m
}
phase "$1"
