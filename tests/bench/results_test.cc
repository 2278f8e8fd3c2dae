#include "bench/results.h"

#include <gtest/gtest.h>

namespace tern::bench {
namespace {

Row row(const char* store, std::vector<double> mops, unsigned threads = 1, unsigned batch = 1) {
  Row r;
  r.workload = "get-uniform";
  r.store = store;
  r.keys = 1'000'000;
  r.value_bytes = 64;
  r.threads = threads;
  r.batch = batch;
  r.mode = batch > 1 ? Mode::kBatch : Mode::kPlain;
  r.mops = std::move(mops);
  return r;
}

TEST(Results, MedianOfOddAndEvenNumbers) {
  EXPECT_DOUBLE_EQ(spread({3, 1, 2}).median, 2);
  EXPECT_DOUBLE_EQ(spread({4, 1, 2, 3}).median, 2.5);
  EXPECT_DOUBLE_EQ(spread({4, 1, 2, 3}).min, 1);
  EXPECT_DOUBLE_EQ(spread({4, 1, 2, 3}).max, 4);
  EXPECT_DOUBLE_EQ(spread({}).median, 0);
}

TEST(Results, RatiosAreFormedWithinARepeatAgainstTheBestOfIt) {
  // The machine slows down by half in the second repeat: the ratio stays.
  const Row tern = row("tern", {6, 3}), a = row("a", {2, 0.5}), b = row("b", {1, 1});
  const Row* const peers[] = {&a, &b};
  const Spread s = ratio_to_best(tern, peers);
  EXPECT_DOUBLE_EQ(s.min, 3);
  EXPECT_DOUBLE_EQ(s.max, 3);
}

TEST(Results, FloorsAreJudgedAtTheSizesTheyAreMeantFor) {
  Results results;
  results.rows = {row("tern", {3}), row("peer", {2.5}), row("tern", {5.6}, 2),
                  row("tern", {20}, 1, 64)};
  judge_core(results);
  const auto find = [&](const char* id) -> const Target* {
    for (const Target& t : results.targets) {
      if (t.id == id) return &t;
    }
    return nullptr;
  };
  ASSERT_NE(find("get-uniform-1m"), nullptr);
  EXPECT_FALSE(find("get-uniform-1m")->pass());  // 1.2 of at least 1.5
  ASSERT_NE(find("get-uniform-64-1m"), nullptr);
  EXPECT_TRUE(find("get-uniform-64-1m")->pass());  // 8 of at least 2
  ASSERT_NE(find("two-threads-get-uniform-1m"), nullptr);
  EXPECT_FALSE(find("two-threads-get-uniform-1m")->pass());  // 1.87 of at least 1.9
  EXPECT_EQ(find("get-uniform-10m"), nullptr);
}

TEST(Results, LessIsBetterForBytes) {
  Target t;
  t.judged = true;
  t.less_is_better = true;
  t.floor = 145;
  t.value.median = 144;
  EXPECT_TRUE(t.pass());
  t.value.median = 146;
  EXPECT_FALSE(t.pass());
}

}  // namespace
}  // namespace tern::bench
