// Keys in order: scans by prefix and YCSB's workload E beside ordered maps and RocksDB, what the index costs, patterns, listings
// without it.
#ifndef TERN_BENCH_ORDER_H_
#define TERN_BENCH_ORDER_H_

#include "bench/options.h"
#include "bench/results.h"

namespace tern::bench {

// Adds the targets scan100-vs-tbb, -vs-btree and -vs-rocksdb, get-ordered and pattern-1m, and figures beside them without a
// floor: ycsb-e-vs-*, list-unordered and others. Scans are among ten million keys and, their ids with a -1000000 in them, among
// a million, where all else is measured; with --entries everything at that size.
void run_order(const BenchOptions& options, Results& results);

}  // namespace tern::bench

#endif  // TERN_BENCH_ORDER_H_
