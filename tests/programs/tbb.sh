#!/bin/bash
# oneTBB: parallel sums, a concurrent queue and a pipeline; Boost.Thread beside it.
. "$(dirname "$0")/common.sh"
have() { need g++; [ -e /usr/include/tbb/tbb.h ] || skip "tbb is not installed"; }
run() {
    cat > job.cpp <<'C'
#include <tbb/tbb.h>
#include <boost/thread.hpp>
#include <cstdio>
#include <unistd.h>
int main() {
    for (long n = 1; access("stop", F_OK); n++) {
        long s = tbb::parallel_reduce(tbb::blocked_range<long>(0, 1000000), 0L, [](auto r, long a) { for (long i = r.begin(); i != r.end(); i++) a += i; return a; }, std::plus<long>());
        if (s != 499999500000L) return fprintf(stderr, "FAIL: sum %ld\n", s), 1;
        long in = 0, out = 0;
        tbb::parallel_pipeline(8, tbb::make_filter<void, long>(tbb::filter_mode::serial_in_order, [&](tbb::flow_control &f) { if (in == 100) { f.stop(); return 0L; } return ++in; })
            & tbb::make_filter<long, long>(tbb::filter_mode::parallel, [](long x) { return x * 2; })
            & tbb::make_filter<long, void>(tbb::filter_mode::serial_in_order, [&](long x) { out += x; }));
        if (out != 10100) return fprintf(stderr, "FAIL: pipeline %ld\n", out), 1;
        long k = 0; boost::mutex m; boost::thread_group g;
        for (int i = 0; i < 4; i++) g.create_thread([&] { for (int j = 0; j < 100; j++) { boost::lock_guard<boost::mutex> l(m); k++; } });
        g.join_all();
        if (k != 400) return fprintf(stderr, "FAIL: threads %ld\n", k), 1;
        FILE *f = fopen("count.new", "w"); fprintf(f, "%ld", n); fclose(f); rename("count.new", "count");
    }
}
C
    g++ -O1 -o job job.cpp -ltbb -lboost_thread -lboost_system -pthread
    exec ./job
}
phase "$1"
