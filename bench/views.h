// What views cost: opening and closing one, and writes while none, one or eight are open.
#ifndef TERN_BENCH_VIEWS_H_
#define TERN_BENCH_VIEWS_H_

#include "bench/options.h"
#include "bench/results.h"

namespace tern::bench {

// Adds the targets view-open, write-with-view and write-without-view, and figures beside them without a floor.
void run_views(const BenchOptions& options, Results& results);

}  // namespace tern::bench

#endif  // TERN_BENCH_VIEWS_H_
