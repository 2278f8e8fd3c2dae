// What a full store costs its host: how fast expired entries are reclaimed, how far tick() passes its budget, and how long
// the slowest calls take while entries are evicted and expire, beside caches that people build by hand (hand_caches.h).
#ifndef TERN_BENCH_BOUNDS_H_
#define TERN_BENCH_BOUNDS_H_

#include <cstdint>

#include "bench/results.h"

namespace tern::bench {

struct BoundsPlan {
  unsigned repeats = 5;
  std::uint64_t expiring = 1'000'000;  // entries that expire at one instant
  std::uint64_t drains = 6;            // of them, for each of tick's budgets
  std::uint64_t memory_bytes = std::uint64_t{64} << 20;  // of each full cache
  std::uint64_t keys = 2'000'000;                        // that are asked for, by Zipf 0.99
  double seconds = 1;                                    // of each slice
};

// Calls as fast as they go, and at a set pace, timed from when each was due. Adds the targets expire-1000, expire-rate,
// tick-overrun-p999, get-p999-full and set-p999-full, and a row for each cache and kind of call. Wrong answers are errors.
void run_bounds(const BoundsPlan& plan, Results& results);

}  // namespace tern::bench

#endif  // TERN_BENCH_BOUNDS_H_
