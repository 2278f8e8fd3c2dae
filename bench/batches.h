// What atomic batches cost: Store::write of 1 to 1,000 sets, beside a map behind one mutex and RocksDB in memory.
#ifndef TERN_BENCH_BATCHES_H_
#define TERN_BENCH_BATCHES_H_

#include "bench/options.h"
#include "bench/results.h"

namespace tern::bench {

// Adds the targets batch10-vs-map and batch10-vs-rocksdb, the other sizes beside them, and rows of what each store did.
void run_batches(const BenchOptions& options, Results& results);

}  // namespace tern::bench

#endif  // TERN_BENCH_BATCHES_H_
