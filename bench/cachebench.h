// Reads a configuration of CacheBench (Meta's CacheLib) and maps what it says on a plan.
#ifndef TERN_BENCH_CACHEBENCH_H_
#define TERN_BENCH_CACHEBENCH_H_

#include <string>
#include <string_view>
#include <vector>

#include "bench/driver.h"

namespace tern::bench {

// Changes `plan` (entries, threads, sizes, operations, budget, one workload named cachebench) and
// answers with an empty string, or with what is wrong. `unused` gets the name of each key that has
// no meaning here.
std::string apply_cachebench(std::string_view json, Plan& plan, std::vector<std::string>& unused);

}  // namespace tern::bench

#endif  // TERN_BENCH_CACHEBENCH_H_
