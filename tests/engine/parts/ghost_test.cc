#include "engine/ghost.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "alloc/sync.h"

namespace tern::detail {
namespace {

// A hash like the engine's: every bit depends on the number.
std::uint64_t hash_of(std::uint64_t n) {
  n += 0x9E37'79B9'7F4A'7C15u;
  n = (n ^ n >> 30) * 0xBF58'476D'1CE4'E5B9u;
  n = (n ^ n >> 27) * 0x94D0'49BB'1331'11EBu;
  return n ^ n >> 31;
}

struct GhostOf {
  explicit GhostOf(std::uint64_t entries) : words(Ghost<StdSync>::words(entries)) {
    ghost.open(words.data(), entries);
  }
  std::vector<std::atomic<std::uint64_t>> words;
  Ghost<StdSync> ghost;
};

struct SketchOf {
  explicit SketchOf(std::uint64_t entries) : words(Sketch<StdSync>::words(entries)) {
    sketch.open(words.data(), entries);
  }
  std::vector<std::atomic<std::uint64_t>> words;
  Sketch<StdSync> sketch;
};

TEST(Ghost, RemembersAKeyOnce) {
  GhostOf g(100);
  EXPECT_FALSE(g.ghost.take(hash_of(1)));
  g.ghost.insert(hash_of(1));
  EXPECT_TRUE(g.ghost.take(hash_of(1)));
  EXPECT_FALSE(g.ghost.take(hash_of(1)));
}

TEST(Ghost, OldestOfAWordIsForgotten) {
  GhostOf g(0);  // one word
  for (std::uint64_t k = 0; k < 5; ++k) g.ghost.insert(hash_of(k));
  EXPECT_FALSE(g.ghost.take(hash_of(0)));
  for (std::uint64_t k = 1; k < 5; ++k) EXPECT_TRUE(g.ghost.take(hash_of(k))) << k;
}

TEST(Ghost, TakingLeavesTheOthersInOrder) {
  GhostOf g(0);
  for (std::uint64_t k = 0; k < 4; ++k) g.ghost.insert(hash_of(k));
  EXPECT_TRUE(g.ghost.take(hash_of(2)));
  g.ghost.insert(hash_of(4));  // into the hole: nobody is forgotten
  EXPECT_TRUE(g.ghost.take(hash_of(0)));
  g.ghost.insert(hash_of(5));
  g.ghost.insert(hash_of(6));  // 1 is the oldest now
  EXPECT_FALSE(g.ghost.take(hash_of(1)));
  for (const std::uint64_t k : {3, 4, 5, 6}) EXPECT_TRUE(g.ghost.take(hash_of(k))) << k;
}

TEST(Ghost, RemembersAboutAsManyKeysAsItWasMadeFor) {
  constexpr std::uint64_t kEntries = 10'000;
  GhostOf g(kEntries);
  for (std::uint64_t k = 0; k < 4 * kEntries; ++k) g.ghost.insert(hash_of(k));
  std::uint64_t young = 0, old = 0, strangers = 0;
  for (std::uint64_t k = 0; k < kEntries; ++k) {
    old += g.ghost.take(hash_of(k));
    young += g.ghost.take(hash_of(4 * kEntries - 1 - k));
    strangers += g.ghost.take(hash_of(5 * kEntries + k));
  }
  EXPECT_GT(young, kEntries * 3 / 4);
  EXPECT_LT(old, kEntries / 500);
  EXPECT_LT(strangers, kEntries / 500);
}

TEST(Ghost, FitsAnewWithinItsMemory) {
  GhostOf g(10'000);
  g.ghost.fit(100);
  for (std::uint64_t k = 0; k < 1'000; ++k) g.ghost.insert(hash_of(k));
  std::uint64_t kept = 0;
  for (std::uint64_t k = 0; k < 1'000; ++k) kept += g.ghost.take(hash_of(k));
  EXPECT_GT(kept, 90u);
  EXPECT_LE(kept, 104u);
}

TEST(Sketch, CountsUpToItsGreatest) {
  SketchOf s(100);
  EXPECT_EQ(s.sketch.count(hash_of(7)), 0u);
  for (unsigned n = 1; n <= 20; ++n) {
    s.sketch.add(hash_of(7));
    EXPECT_EQ(s.sketch.count(hash_of(7)), std::min(n, Sketch<StdSync>::kCountMax));
  }
}

TEST(Sketch, OverestimatesFewAndUnderestimatesNone) {
  constexpr std::uint64_t kKeys = 5'000;
  SketchOf s(kKeys);
  for (std::uint64_t k = 0; k < kKeys; ++k) {
    for (std::uint64_t n = 0; n < 1 + k % 8; ++n) s.sketch.add(hash_of(k));
  }
  std::uint64_t over = 0;
  for (std::uint64_t k = 0; k < kKeys; ++k) {
    const unsigned count = s.sketch.count(hash_of(k));
    ASSERT_GE(count, 1 + k % 8) << k;
    over += count > 1 + k % 8;
  }
  EXPECT_LT(over, kKeys / 20);
}

// Whatever block a key lies in, and whether that was touched since: keys with equal counts stay
// equal.
TEST(Sketch, HalvesAllKeysAlike) {
  constexpr std::uint64_t kEntries = 1'000;
  SketchOf s(kEntries);
  for (std::uint64_t k = 0; k < 50; ++k) {
    for (unsigned n = 0; n < 8; ++n) s.sketch.add(hash_of(k));
  }
  std::uint64_t added = 400;
  for (; added < 10 * kEntries + 2; ++added) s.sketch.add(hash_of(1'000'000));
  for (std::uint64_t k = 0; k < 50; ++k) EXPECT_EQ(s.sketch.count(hash_of(k)), 4u) << k;
  for (std::uint64_t n = 0; n < 2 * (10 * kEntries + 1); ++n) s.sketch.add(hash_of(1'000'000));
  for (std::uint64_t k = 0; k < 50; ++k) EXPECT_EQ(s.sketch.count(hash_of(k)), 1u) << k;
}

TEST(Sketch, SixteenHalvingsLeaveNothing) {
  constexpr std::uint64_t kEntries = 16;
  SketchOf s(kEntries);
  for (std::uint64_t n = 0; n < 15; ++n) s.sketch.add(hash_of(1));
  for (std::uint64_t n = 0; n < 4 * (10 * kEntries + 1); ++n) s.sketch.add(hash_of(2));
  EXPECT_LE(s.sketch.count(hash_of(1)), 1u);
}

}  // namespace
}  // namespace tern::detail
