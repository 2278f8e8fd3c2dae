// What snapshots cost: writing one while writers go on, beside dd on the same disk; what those writers lose; and how soon after
// its opening a file serves.
#ifndef TERN_BENCH_SNAPSHOT_H_
#define TERN_BENCH_SNAPSHOT_H_

#include "bench/options.h"
#include "bench/results.h"

namespace tern::bench {

// Adds the targets save-vs-dd, save-writers, open-first-get, open-vs-redis and open-vs-rocksdb, and figures beside them without a
// limit. A peer that is missing is an error. Files are made in options.folder and removed.
void run_snapshot(const BenchOptions& options, Results& results);

}  // namespace tern::bench

#endif  // TERN_BENCH_SNAPSHOT_H_
