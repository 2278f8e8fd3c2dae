#include "bench/cachebench.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tern::bench {
namespace {

TEST(CacheBench, KeysAreMappedOnThePlan) {
  Plan plan;
  std::vector<std::string> unused;
  const std::string error = apply_cachebench(R"({
    "cache_config": {"cacheSizeMB": 512, "poolRebalanceIntervalSec": 1},
    "test_config": {
      "numOps": 100000, "numThreads": 4, "numKeys": 20000,
      "keySizeRange": [8, 16, 64], "keySizeRangeProbability": [0.3, 0.7],
      "valSizeRange": [32, 10240], "valSizeRangeProbability": [1.0],
      "getRatio": 0.6, "setRatio": 0.3, "delRatio": 0.1, "opDelayNs": 5
    }})",
                                             plan, unused);
  EXPECT_EQ(error, "");
  EXPECT_EQ(plan.memory_bytes, std::uint64_t{512} << 20);
  EXPECT_EQ(plan.operations, 100'000u);
  EXPECT_EQ(plan.entries, std::vector<std::uint64_t>{20'000});
  EXPECT_EQ(plan.threads, std::vector<unsigned>{4});
  EXPECT_EQ(plan.keys.min(), 8u);
  EXPECT_EQ(plan.keys.max(), 63u);
  EXPECT_EQ(plan.values.max(), 10'239u);
  ASSERT_EQ(plan.workloads.size(), 1u);
  EXPECT_NEAR(plan.workloads[0].set, 30, 1e-9);
  EXPECT_NEAR(plan.workloads[0].del, 10, 1e-9);
  std::sort(unused.begin(), unused.end());
  EXPECT_EQ(unused, (std::vector<std::string>{"cache_config.poolRebalanceIntervalSec",
                                              "test_config.opDelayNs"}));
}

TEST(CacheBench, WhatIsWrongIsNamed) {
  const struct {
    const char* json;
    const char* named;
  } cases[] = {
      {"", "JSON"},
      {"[]", "JSON"},
      {"{}", "test_config"},
      {R"({"test_config": {}})", "getRatio"},
      {R"({"test_config": {"getRatio": "x"}})", "getRatio"},
      {R"({"test_config": {"getRatio": 1, "numKeys": -1}})", "numKeys"},
      {R"({"test_config": {"getRatio": 1, "keySizeRange": [16, 24]}})", "keySizeRange"},
      {R"({"test_config": {"getRatio": 1, "keySizeRange": [16, 24], "keySizeRangeProbability": [1, 1]}})",
       "keySizeRange"},
      {R"({"test_config": {"getRatio": 1, "keySizeRange": [1, 24], "keySizeRangeProbability": [1]}})",
       "keySizeRange"},
      {R"({"test_config": {"getRatio": 1, "valSizeRange": [64, 64], "valSizeRangeProbability": [1]}})",
       "valSizeRange"},
      {R"({"test_config": {"getRatio": 1, "valSizeRange": [64, 65], "valSizeRangeProbability": [0]}})",
       "valSizeRangeProbability"},
  };
  for (const auto& c : cases) {
    Plan plan;
    std::vector<std::string> unused;
    const std::string error = apply_cachebench(c.json, plan, unused);
    EXPECT_NE(error.find(c.named), std::string::npos) << c.json << ": " << error;
  }
}

}  // namespace
}  // namespace tern::bench
