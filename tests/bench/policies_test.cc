#include "bench/policies/policy.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "bench/workload.h"

namespace tern::bench {
namespace {

DenseTrace trace_of(std::initializer_list<Key> keys, std::vector<std::uint32_t> sizes = {}) {
  DenseTrace trace;
  trace.keys = keys;
  Key most = 0;
  for (const Key k : keys) most = std::max(most, k + 1);
  if (sizes.empty()) sizes.assign(most, 1);
  trace.sizes = std::move(sizes);
  return trace;
}

// One letter a request: h is a hit.
std::string run(std::string_view name, const DenseTrace& trace, std::uint64_t capacity) {
  const auto policy = make_policy(name, trace, capacity);
  std::string out;
  for (const Key key : trace.keys) out += policy->access(key) ? 'h' : '.';
  return out;
}

// Zipf over 2,000 keys with a scan of fresh ones in between, and a shift of the favourites
// half-way.
DenseTrace mixed_trace(bool unit_sizes) {
  Trace trace;
  const Zipf zipf(2'000, 0.9);
  Random random(7);
  std::uint64_t fresh = 1'000'000;
  for (std::uint64_t i = 0; i < 60'000; ++i) {
    const std::uint64_t rank = zipf.rank(random.unit());
    const std::uint64_t shift = i < 30'000 ? 0 : 700;
    const std::uint64_t key = i % 5'000 < 500 ? fresh++ : (rank + shift) % 2'000;
    trace.requests.push_back({key, static_cast<std::uint32_t>(1 + key * 2'654'435'761u % 97)});
  }
  return dense(trace, unit_sizes);
}

TEST(DenseTrace, KeysAreRenumberedAndTheFirstSizeCounts) {
  Trace trace;
  trace.requests = {{900, 5}, {7, 0}, {900, 8}, {3, 2}};
  const DenseTrace with_sizes = dense(trace, false);
  EXPECT_EQ(with_sizes.keys, (std::vector<Key>{0, 1, 0, 2}));
  EXPECT_EQ(with_sizes.sizes, (std::vector<std::uint32_t>{5, 1, 2}));
  EXPECT_EQ(with_sizes.bytes(), 8u);
  EXPECT_EQ(dense(trace, true).sizes, (std::vector<std::uint32_t>{1, 1, 1}));
}

TEST(Policies, UnknownNameIsNone) { EXPECT_EQ(make_policy("mru", trace_of({0}), 1), nullptr); }

TEST(Policies, LruByHand) {
  // 0 1 2 | 0 hits | 3 puts 1 out | 1 puts 2 out | 0 hits | 2 puts 3 out
  EXPECT_EQ(run("lru", trace_of({0, 1, 2, 0, 3, 1, 0, 2}), 3), "...h..h.");
}

TEST(Policies, SieveByHand) {
  // Full with 0 1 2, 0 marked. 3: the hand clears 0 and takes 1. 4: it goes on to 2. 0 is still
  // there.
  EXPECT_EQ(run("sieve", trace_of({0, 1, 2, 0, 3, 4, 0, 3, 1}), 3), "...h..hh.");
}

TEST(Policies, S3FifoByHand) {
  // The small queue gives 0 up to the ghost; when 0 returns, it goes to main, and 4, 5, 6 pass it
  // by.
  EXPECT_EQ(run("s3-fifo", trace_of({0, 1, 2, 3, 0, 4, 5, 6, 0}), 3), "........h");
  EXPECT_EQ(run("lru", trace_of({0, 1, 2, 3, 0, 4, 5, 6, 0}), 3), ".........");
}

TEST(Policies, ArcByHand) {
  // 0 was hit and is in T2; the scan 2 3 4 passes through T1.
  EXPECT_EQ(run("arc", trace_of({0, 0, 1, 2, 3, 4, 0}), 2), ".h....h");
  // 1 is remembered in B1 when it returns: T1's share grows to one, so 0 goes from T2 and 2 stays
  // in T1.
  EXPECT_EQ(run("arc", trace_of({0, 0, 1, 2, 1, 2}), 2), ".h...h");
}

TEST(Policies, WTinyLfuByHand) {
  // A window of one. 0 and 1 are frequent and stay in main; the scan goes through the window.
  EXPECT_EQ(run("w-tinylfu", trace_of({0, 1, 0, 1, 2, 3, 4, 0, 1}), 3), "..hh...hh");
}

TEST(Policies, OptimumByHand) {
  // 2 is never used again and isn't taken in, so 0 and 1 stay.
  EXPECT_EQ(run("optimum", trace_of({0, 1, 2, 0, 1, 3, 0}), 2), "...hh.h");
  // A loop of three keys in a cache of two: what is there stays there.
  EXPECT_EQ(run("optimum", trace_of({0, 1, 2, 0, 1, 2, 0, 1, 2}), 2), "...hh.hh.");
}

TEST(Policies, AllHitWhenEverythingFits) {
  const DenseTrace trace = mixed_trace(false);
  const double distinct = trace.objects() / static_cast<double>(trace.keys.size());
  for (const std::string& name : policy_names())
    EXPECT_NEAR(hit_ratio(name, trace, trace.bytes()), 1 - distinct, 1e-9) << name;
}

TEST(Policies, NoneIsBetterThanTheOptimum) {
  const DenseTrace trace = mixed_trace(true);
  for (const std::uint64_t capacity : {1u, 2u, 3u, 10u, 50u, 200u, 1'000u}) {
    const double best = hit_ratio("optimum", trace, capacity);
    for (const std::string& name : policy_names())
      EXPECT_LE(hit_ratio(name, trace, capacity), best) << name << " at " << capacity;
  }
}

TEST(Policies, CapacityIsNeverExceeded) {
  for (const bool unit_sizes : {true, false}) {
    const DenseTrace trace = mixed_trace(unit_sizes);
    for (const std::uint64_t capacity : {1u, 2u, 17u, 96u, 97u, 500u, 20'000u}) {
      for (const std::string& name : policy_names()) {
        const auto policy = make_policy(name, trace, capacity);
        for (const Key key : trace.keys) {
          policy->access(key);
          ASSERT_LE(policy->used(), capacity) << name;
        }
      }
    }
  }
}

TEST(Policies, WhatIsLargerThanTheCacheIsNotKept) {
  const DenseTrace trace = trace_of({0, 1, 0, 1, 0, 1}, {2, 11});
  for (const std::string& name : policy_names()) EXPECT_EQ(run(name, trace, 10), "..h.h.") << name;
}

TEST(Policies, LoopOverMoreThanFitsKeepsAPart) {
  DenseTrace trace;
  trace.sizes.assign(1'000, 1);
  for (Key i = 0; i < 100'000; ++i) trace.keys.push_back(i % 1'000);
  EXPECT_EQ(hit_ratio("lru", trace, 200), 0);
  EXPECT_GT(hit_ratio("tern", trace, 200), 0.17);
}

}  // namespace
}  // namespace tern::bench
