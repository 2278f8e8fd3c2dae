// The suite of bounds at a tiny size: each figure is there, and the store's answers were right.
#include "bench/bounds.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace tern::bench {
namespace {

TEST(Bounds, EveryFigureIsThere) {
  BoundsPlan plan;
  plan.repeats = 2;
  plan.expiring = 20'000;
  plan.drains = 2;
  plan.memory_bytes = std::uint64_t{8} << 20;
  plan.keys = 200'000;
  plan.seconds = 0.05;
  Results results;
  results.huge_pages = false;
  run_bounds(plan, results);
  for (const std::string& error : results.errors) ADD_FAILURE() << error;
  std::set<std::string> ids;
  for (const Target& t : results.targets) {
    ids.insert(t.id);
    EXPECT_GE(t.value.median, 0) << t.id;
    if (t.id.find("overrun") == std::string::npos) {
      EXPECT_GT(t.value.median, 0) << t.id;
    }
  }
  for (const char* id : {"expire-1000", "expire-rate", "tick-overrun-p999", "tick-overrun-p999-50us", "tick-overrun-p999-1000us",
                         "loop-overrun-p999", "get-p999-full", "set-p999-full", "get-p9999-full", "set-p9999-full",
                         "get-p999-paced", "set-p999-paced", "get-p9999-paced", "set-p9999-paced"}) {
    EXPECT_EQ(ids.count(id), 1u) << id;
  }
  for (const char* workload : {"full-95-5-get", "full-95-5-set", "full-95-5-paced-get", "full-95-5-paced-set"}) {
    for (const char* store : {"tern", "lru-mutex", "lru-sharded-64", "libcuckoo-clock"}) {
      const Row* row = results.find(workload, store, plan.keys, 2);
      ASSERT_NE(row, nullptr) << store;
      EXPECT_EQ(row->mops.size(), 2u);
      EXPECT_GT(row->latency.count(), 100u) << store;
      EXPECT_GT(row->sum, row->reads / 4) << store << " hits too seldom to be a cache";
      EXPECT_LT(row->bytes_per_entry, 400) << store << " isn't full";
    }
  }
}

}  // namespace
}  // namespace tern::bench
