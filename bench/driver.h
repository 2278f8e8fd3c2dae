// Runs the slices of all stores in turn, repeat by repeat, and gathers the rows.
#ifndef TERN_BENCH_DRIVER_H_
#define TERN_BENCH_DRIVER_H_

#include <vector>

#include "bench/options.h"
#include "bench/results.h"
#include "bench/slice.h"

namespace tern::bench {

struct Plan {
  std::vector<std::uint64_t> entries;
  std::vector<Workload> workloads;
  std::vector<StoreKind> stores;
  std::vector<unsigned> threads;  // ascending
  std::vector<unsigned> batches;
  Sizes keys{16, 24};
  Sizes values{64, 64};
  double seconds = 0.15;
  double warm_up_seconds = 0.03;
  std::uint64_t operations = 0;  // of each thread in a slice; 0: only time ends it
  unsigned repeats = 5;
  std::uint64_t seed = 1;
  std::uint64_t memory_bytes = 0;
  bool huge_pages = true;
  bool peers_at_one_thread_only = false;
};

// Adds rows, limits and errors to `results`, and prints each group of rows when it is complete.
void run_plan(const Plan& plan, Results& results);

}  // namespace tern::bench

#endif  // TERN_BENCH_DRIVER_H_
