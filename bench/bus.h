// What watching costs: the writers whom somebody watches, and the watchers; beside a map with a queue of callbacks behind one
// mutex, and Redis keyspace notifications over loopback.
#ifndef TERN_BENCH_BUS_H_
#define TERN_BENCH_BUS_H_

#include "bench/options.h"
#include "bench/results.h"

namespace tern::bench {

// Adds the targets set-one-subscriber, events-rate, events-vs-queue, events-vs-redis, set-10000-watches, delivery-p50 and
// delivery-p99, and what stands beside them. Redis is required: without redis-server or hiredis the run is a failure.
void run_bus(const BenchOptions& options, Results& results);

}  // namespace tern::bench

#endif  // TERN_BENCH_BUS_H_
