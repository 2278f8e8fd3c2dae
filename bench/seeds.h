// The figures of the seed documents that concern a memory store: registries of actors and nodes,
// point look-ups, batches, many writers. Trivial in memory and kept as a list, because the same
// list binds later on the database backends.
#ifndef TERN_BENCH_SEEDS_H_
#define TERN_BENCH_SEEDS_H_

#include "bench/results.h"

namespace tern::bench {

// Adds a target for each figure; wrong answers of the store are errors.
void run_seeds(Results& results);

}  // namespace tern::bench

#endif  // TERN_BENCH_SEEDS_H_
