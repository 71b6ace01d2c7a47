#!/bin/bash
# R with vectors, a linear model and a forked worker (parallel).
. "$(dirname "$0")/common.sh"
have() { need Rscript; }
run() {
    cat > job.R <<'R'
library(parallel)
set.seed(7)
x <- matrix(rnorm(40000), 200); n <- 0
y <- x[, 1] * 2 + 1
while (!file.exists("stop")) {
  n <- n + 1
  stopifnot(abs(coef(lm(y ~ x[, 1])) - c(1, 2)) < 1e-8)
  stopifnot(max(abs(solve(x) %*% x - diag(200))) < 1e-6)
  if (n %% 5 == 0) stopifnot(sum(unlist(mclapply(1:4, function(i) i * n, mc.cores = 2))) == 10 * n)
  cat(n, file = "count.new"); invisible(file.rename("count.new", "count"))
}
R
    exec Rscript job.R
}
phase "$1"
