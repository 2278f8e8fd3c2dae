// The ordered index alone: against a std::map, at its limits, and under threads.
#include "engine/ordered_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "tests/engine/parts/bare_core.h"
#include "tests/engine/parts/index_sequence.h"

namespace tern::test {
namespace {

using Sync = BareCore::Sync;
using Index = detail::OrderedIndex<Sync>;
using Guard = detail::Guard<Sync>;

RC_GTEST_PROP(OrderedIndexTest, AnswersAsAMap, ()) {
  const auto bytes = *rc::gen::resize(400, rc::gen::arbitrary<std::vector<std::uint8_t>>());
  const std::string difference = run_index_operations(bytes);
  if (!difference.empty()) RC_FAIL(difference);
}

TEST(OrderedIndexTest, AnswersAsAMapOverLongSequences) {
  for (unsigned seed = 1; seed != 40; ++seed) {
    std::mt19937_64 random(seed);
    std::vector<std::uint8_t> bytes(3'000);
    for (auto& b : bytes) b = static_cast<std::uint8_t>(random());
    ASSERT_EQ(run_index_operations(bytes), "") << "seed " << seed;
  }
}

std::vector<std::string> all_of(BareCore& bare, Index& index) {
  const Guard guard(bare.space(), *bare.thread);
  std::vector<std::string> keys;
  typename Index::Cursor c(index, Index::Cursor::kForward);
  while (const auto* leaf = c.next()) keys.emplace_back(leaf->key());
  EXPECT_FALSE(c.failed());
  return keys;
}

TEST(OrderedIndexTest, KeysThatAreBeginningsOfEachOther) {
  BareCore bare(std::size_t{16} << 20);
  Index index(bare.space());
  // A path of a thousand nodes: deeper than a cursor's own room.
  std::vector<std::string> keys;
  for (unsigned n = 1; n <= 1'000; ++n) {
    const Guard guard(bare.space(), *bare.thread);
    ASSERT_TRUE(bare.space().epoch.admit(bare.space(), *bare.thread));
    keys.emplace_back(n, 'a');
    ASSERT_TRUE(index.ensure(*bare.thread, keys.back(), n));
  }
  EXPECT_EQ(all_of(bare, index), keys);
}

TEST(OrderedIndexTest, LongKeysShareALongBeginning) {
  BareCore bare(std::size_t{16} << 20);
  Index index(bare.space());
  const std::size_t longest = bare.space().heap.largest_block() - Index::kLeafHeaderBytes;
  std::vector<std::string> keys;
  for (const char last : {'a', 'b', 'c'}) {
    const Guard guard(bare.space(), *bare.thread);
    keys.push_back(std::string(longest - 1, 'x') + last);
    ASSERT_TRUE(index.ensure(*bare.thread, keys.back(), 1));
  }
  EXPECT_EQ(all_of(bare, index), keys);
  // One that fits into no block lies in an extent.
  const std::uint64_t extents = bare.space().heap.stats().extent_bytes;
  keys.insert(keys.begin() + 1, keys[0] + "x");
  {
    const Guard guard(bare.space(), *bare.thread);
    ASSERT_TRUE(index.ensure(*bare.thread, keys[1], 1));
  }
  EXPECT_EQ(all_of(bare, index), keys);
  EXPECT_GT(bare.space().heap.stats().extent_bytes, extents);
  {
    const Guard guard(bare.space(), *bare.thread);
    for (const std::string& key : keys) index.remove(*bare.thread, key, [] { return false; });
  }
  bare.space().epoch.reclaim(bare.space(), *bare.thread);
  EXPECT_EQ(bare.space().heap.stats().extent_bytes, extents);
  EXPECT_EQ(index.walk([](std::uint64_t) {}), 0u);
}

TEST(OrderedIndexTest, WithoutMemoryItRefusesAndGoesOn) {
  BareCore bare;
  auto& space = bare.space();
  Index index(space);
  std::vector<std::string> keys;
  for (unsigned n = 0;; ++n) {
    const Guard guard(space, *bare.thread);
    ASSERT_TRUE(space.epoch.admit(space, *bare.thread));
    std::string key = std::to_string(n * 7919 % 1'000'003);
    keys.push_back(key);
    if (!index.ensure(*bare.thread, key, n)) break;
  }
  EXPECT_GT(keys.size(), 10'000u);
  // The refused one may be there, or be coming: the index holds a superset.
  const std::string refused = keys.back();
  std::sort(keys.begin(), keys.end());
  const std::vector<std::string> found = all_of(bare, index);
  EXPECT_TRUE(std::includes(keys.begin(), keys.end(), found.begin(), found.end()));
  EXPECT_GE(found.size() + 1, keys.size());
  EXPECT_TRUE(found.size() == keys.size() || std::find(found.begin(), found.end(), refused) == found.end());
  // Also below a node that was being replaced when the memory ran out.
  for (const std::string& key : found) {
    const Guard guard(space, *bare.thread);
    ASSERT_TRUE(space.epoch.admit(space, *bare.thread));
    index.remove(*bare.thread, key, [] { return false; });
  }
  const std::vector<std::string> left = all_of(bare, index);
  EXPECT_TRUE(left.empty() || left == std::vector<std::string>{refused});
  // With memory again it takes keys, and gives back what it couldn't before.
  space.epoch.reclaim(space, *bare.thread);
  for (const std::string& key : keys) {
    const Guard guard(space, *bare.thread);
    ASSERT_TRUE(space.epoch.admit(space, *bare.thread));
    ASSERT_TRUE(key == refused || index.ensure(*bare.thread, key, 1));
    index.remove(*bare.thread, key, [] { return false; });
  }
  EXPECT_TRUE(all_of(bare, index).empty());
  EXPECT_EQ(index.walk([](std::uint64_t) {}), 0u);
}

// Each thread owns keys, which it inserts and removes; those of nobody's stay. A scan meets each of these once, in order,
// and nothing that was never there.
TEST(OrderedIndexTest, ScansUnderWritersMeetWhatStays) {
  BareCore bare(std::size_t{32} << 20);
  auto& space = bare.space();
  Index index(space);
  const auto key_of = [](unsigned n) { return "key/" + std::to_string(n * 37 % 4'001); };
  constexpr unsigned kKeys = 4'000;
  for (unsigned n = 0; n < kKeys; n += 4) {
    const Guard guard(space, *bare.thread);
    ASSERT_TRUE(space.epoch.admit(space, *bare.thread));
    ASSERT_TRUE(index.ensure(*bare.thread, key_of(n), n));
  }
  std::atomic<bool> stop{false};
  std::atomic<unsigned> refused{0};
  std::vector<std::jthread> writers;
  for (unsigned w = 1; w != 4; ++w) {
    auto& t = bare.new_thread();
    writers.emplace_back([&, w] {
      std::mt19937_64 random(w);
      while (!stop.load(std::memory_order_relaxed)) {
        const unsigned n = static_cast<unsigned>(random() % (kKeys / 4)) * 4 + w;
        const Guard guard(space, t);
        if (!space.epoch.admit(space, t)) continue;
        if (random() % 2 == 0) {
          refused += !index.ensure(t, key_of(n), n);
        } else {
          index.remove(t, key_of(n), [] { return false; });
        }
      }
    });
  }
  for (int round = 0; round != 60; ++round) {
    const Guard guard(space, *bare.thread);
    const bool backward = round % 2 != 0;
    typename Index::Cursor c(index, backward ? Index::Cursor::kBackward : Index::Cursor::kForward);
    std::string last;
    unsigned stayed = 0;
    while (const auto* leaf = c.next()) {
      ASSERT_TRUE(last.empty() || (backward ? leaf->key() < last : leaf->key() > last)) << leaf->key() << " after " << last;
      last = leaf->key();
      ASSERT_EQ(key_of(static_cast<unsigned>(leaf->hash)), last);
      stayed += leaf->hash % 4 == 0;
    }
    ASSERT_EQ(stayed, kKeys / 4);
  }
  stop = true;
  writers.clear();
  EXPECT_EQ(refused, 0u);
}

}  // namespace
}  // namespace tern::test
