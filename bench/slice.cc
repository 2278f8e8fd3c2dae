#include "bench/slice.h"

#include <cstdio>

namespace tern::bench {

void sum_up(const SliceSpec& spec, std::span<const Tally> tallies, SliceResult& result) {
  result = SliceResult{};
  for (const Tally& t : tallies) {
    result.operations += t.operations;
    result.hits += t.hits;
    result.misses += t.misses;
    result.refused += t.refused;
    result.sum += t.sum;
    result.sum_expected += t.sum_expected;
    if (t.cpu > 0) result.mops_cpu += static_cast<double>(t.operations) / t.cpu / 1e6;
    if (t.wall > 0) result.mops_wall += static_cast<double>(t.operations) / t.wall / 1e6;
    result.pinned = result.pinned && t.pinned;
    result.latency.add(*t.latency);
  }
  const Workload& w = spec.workload;
  const auto complain = [&](const char* what) {
    if (result.failed) return;
    result.failed = true;
    std::snprintf(result.error, sizeof result.error, "%s: %s", w.name.c_str(), what);
  };
  if (result.refused != 0) complain("writes were refused, the store is too small");
  if (w.missing_keys && result.hits != 0) complain("a key that was never set was found");
  if (!w.missing_keys && !w.may_miss() && result.misses != 0)
    complain("keys that were set are missing");
  if (result.sum != result.sum_expected) complain("the sum of what was read is wrong");
  if (result.operations == 0) complain("the slice was too short for one chunk of operations");
}

std::vector<StoreKind> all_stores() {
  return {tern_store(),   tbb_store(),       cuckoo_store(),
          abseil_store(), unordered_store(), cds_store(),
          bare_store()};
}

}  // namespace tern::bench
