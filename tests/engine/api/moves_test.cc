// Memory goes where the workload goes: a store that is full of one size takes another after most of
// the first is gone, however thinly what remains is spread; the accounts hold throughout.
#include <tern/store.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

Store open_with(std::size_t memory_bytes) {
  Options options = small_options();
  options.memory_bytes = memory_bytes;
  options.eviction = false;
  return open_or_fail(options);
}

// What is in the store, so that every phase can be checked whole.
class Contents {
 public:
  explicit Contents(const Store& store) : store_(store) {}

  // Sets fresh keys until the store refuses, with a few ticks allowed for each; how many.
  unsigned fill(std::size_t bytes, unsigned ticks = 0) {
    unsigned count = 0;
    for (;; ++count) {
      const std::string key = numbered("k", next_);
      Status status = store_.set(key, pattern(bytes, next_)).status();
      for (unsigned i = 0; status == Status::kOutOfMemory && i < ticks; ++i) {
        (void)store_.tick(1ms);
        status = store_.set(key, pattern(bytes, next_)).status();
      }
      if (status != Status::kOk) {
        EXPECT_EQ(status, Status::kOutOfMemory);
        return count;
      }
      entries_.push_back({next_++, bytes});
    }
  }
  // Keeps one of `n`.
  void thin_out(unsigned n) {
    std::vector<Entry> kept;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (n != 0 && i % n == 0) {
        kept.push_back(entries_[i]);
      } else {
        const Result<bool> removed = store_.del(numbered("k", entries_[i].number));
        ASSERT_TRUE(removed) << status_name(removed.status()) << " at " << i << " of " << entries_.size();
        ASSERT_TRUE(*removed);
      }
    }
    entries_ = kept;
  }
  bool are_there() const {
    for (const Entry& e : entries_) {
      if (value_of(store_, numbered("k", e.number)) != pattern(e.bytes, e.number)) return false;
    }
    return store_.stats().entries == entries_.size();
  }
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const Entry& e : entries_) sum += e.bytes;
    return sum;
  }
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    unsigned number;
    std::size_t bytes;
  };
  const Store& store_;
  std::vector<Entry> entries_;
  unsigned next_ = 0;
};

class MovesTest : public testing::TestWithParam<std::size_t> {
 protected:
  void thin_out_and_fill();
};

void MovesTest::thin_out_and_fill() {
  const Store store = open_with(GetParam());
  Contents contents(store);
  (void)contents.fill(64);
  contents.thin_out(16);
  const std::size_t left = contents.bytes();
  const unsigned large = contents.fill(60'000);
  EXPECT_GE(large * std::size_t{60'000}, GetParam() * 65 / 100)
      << large << " values of 64 KiB beside " << left << " bytes, " << store.stats().moves << " moves";
  EXPECT_TRUE(contents.are_there());
  EXPECT_TRUE(whole(store));
}

TEST_P(MovesTest, AThinnedOutStoreTakesLargeValuesWithoutATick) { thin_out_and_fill(); }

TEST_P(MovesTest, SizesShiftBackAndForth) {
  const Store store = open_with(GetParam());
  Contents contents(store);
  for (const std::size_t bytes : {64, 4096, 60'000, 4096, 64, 60'000, 64}) {
    (void)contents.fill(bytes);
    EXPECT_GT(contents.bytes(), GetParam() / 2) << bytes;
    ASSERT_TRUE(contents.are_there()) << bytes;
    ASSERT_TRUE(whole(store)) << bytes;
    contents.thin_out(16);
    ASSERT_TRUE(contents.are_there()) << bytes;
    ASSERT_TRUE(whole(store)) << bytes;
  }
  EXPECT_TRUE(contents.are_there());
  EXPECT_LE(store.stats().memory_used_bytes, store.stats().memory_bytes);
}

INSTANTIATE_TEST_SUITE_P(MemoryBytes, MovesTest, testing::Values(4 * kMiB, 20 * kMiB));

class LargeSpansTest : public MovesTest {};
TEST_P(LargeSpansTest, AThinnedOutStoreTakesLargeValuesWithoutATick) { thin_out_and_fill(); }
// Spans of 512 KiB.
INSTANTIATE_TEST_SUITE_P(MemoryBytes, LargeSpansTest,
                         testing::Values(kSanitized ? 8 * kMiB : 256 * kMiB));

TEST(RoomTest, AMebibyteFindsRoomAmongSmallRecords) {
  const Store store = open_with(32 * kMiB);
  Contents contents(store);
  (void)contents.fill(64);
  contents.thin_out(16);
  const std::string large = pattern(kMiB);
  unsigned attempts = 0;
  while (!store.set("large", large)) {
    ASSERT_GT(store.tick(0us)->unplaced_bytes, kMiB) << "refused, and nothing said to be owed";
    ASSERT_LT(++attempts, 100u);
    (void)store.tick(1ms);
  }
  EXPECT_EQ(attempts, 0u) << "within the write's own bound";
  EXPECT_TRUE(value_of(store, "large") == large);
  EXPECT_TRUE(store.del("large"));
  EXPECT_TRUE(contents.are_there());
  EXPECT_TRUE(whole(store));
}

TEST(RoomTest, WhatAWriteMayNotDoIsOwedAndDoneByTicks) {
  const Store store = open_with(32 * kMiB);
  Contents contents(store);
  (void)contents.fill(64);
  contents.thin_out(2);  // half of a million: far more than one write may move
  const std::string large = pattern(3 * kMiB);
  ASSERT_EQ(store.set("large", large).status(), Status::kOutOfMemory);
  EXPECT_GT(store.tick(0us)->unplaced_bytes, 3 * kMiB);
  unsigned ticks = 0;
  while (store.tick(1ms)->unplaced_bytes != 0) ASSERT_LT(++ticks, 10'000u);
  EXPECT_TRUE(store.set("large", large)) << "after " << ticks << " ticks and " << store.stats().moves << " moves";
  EXPECT_TRUE(store.del("large"));
  EXPECT_TRUE(contents.are_there());
  EXPECT_TRUE(whole(store));
}

TEST(RoomTest, DeadlinesHoldsAndLongValuesComeAlong) {
  ManualClock clock;
  Options options = small_options(&clock);
  options.memory_bytes = 8 * kMiB;
  options.eviction = false;
  const Store store = open_or_fail(options);
  const std::string huge = pattern(300'000);
  for (unsigned i = 0; i < 400; ++i) {
    ASSERT_TRUE(store.set(numbered("ttl", i), pattern(64, i), {.ttl = std::chrono::seconds(100 + i)}));
  }
  ASSERT_TRUE(store.set("huge", huge));
  ASSERT_TRUE(store.set(std::string(1'000, 'k'), "of a long key"));
  Contents contents(store);
  (void)contents.fill(72);
  contents.thin_out(16);
  std::vector<HeldValue> held;
  for (unsigned i = 0; i < 50; ++i) held.push_back(std::move(*store.hold(numbered("ttl", i * 7))));
  for (unsigned i = 0; i < 400; i += 3) {
    ASSERT_TRUE(*store.expire(numbered("ttl", i), std::chrono::seconds(1'000 + i)));
  }
  unsigned large = 0;
  while (store.set(numbered("large", large), pattern(60'000, large))) ++large;
  EXPECT_GT(large, 60u);
  EXPECT_GT(store.stats().moves, 1'000u);
  for (unsigned i = 0; i < 400; ++i) {
    EXPECT_EQ(value_of(store, numbered("ttl", i)), pattern(64, i));
    EXPECT_EQ(*store.ttl(numbered("ttl", i)), std::chrono::seconds((i % 3 == 0 ? 1'000 : 100) + i)) << i;
  }
  for (unsigned i = 0; i < 50; ++i) EXPECT_EQ(held[i].view(), pattern(64, i * 7));
  EXPECT_TRUE(value_of(store, "huge") == huge);
  EXPECT_EQ(value_of(store, std::string(1'000, 'k')), "of a long key");
  held.clear();
  clock.advance(std::chrono::seconds(600));
  EXPECT_EQ(value_of(store, "ttl1"), std::nullopt);
  EXPECT_NE(value_of(store, "ttl3"), std::nullopt);
  EXPECT_TRUE(whole(store));
}

TEST(RoomTest, ABudgetSinksBelowWhatSpansTake) {
  const Store store = open_with(32 * kMiB);
  Contents contents(store);
  (void)contents.fill(64);
  contents.thin_out(16);
  ASSERT_GT(store.stats().memory_used_bytes, 30 * kMiB);
  ASSERT_TRUE(store.resize(12 * kMiB));
  std::size_t before = store.stats().memory_bytes;
  unsigned ticks = 0;
  for (;;) {
    const Result<Owed> owed = store.tick(1ms);
    ASSERT_TRUE(owed);
    const Stats s = store.stats();
    ASSERT_LE(s.memory_used_bytes, s.memory_bytes);
    ASSERT_LE(s.memory_bytes, before) << "it only sinks";
    before = s.memory_bytes;
    ASSERT_EQ(s.memory_bytes, 12 * kMiB + owed->shrink_bytes);
    if (owed->shrink_bytes == 0) break;
    ASSERT_LT(++ticks, 10'000u);
  }
  EXPECT_EQ(store.stats().memory_bytes, 12 * kMiB);
  EXPECT_TRUE(contents.are_there());
  EXPECT_TRUE(whole(store));
  (void)contents.fill(1'000);
  EXPECT_GT(contents.bytes(), 5 * kMiB);
  EXPECT_LE(store.stats().memory_used_bytes, 12 * kMiB);
  ASSERT_TRUE(store.resize(32 * kMiB));
  (void)contents.fill(1'000);
  EXPECT_GT(contents.bytes(), 20 * kMiB);
  EXPECT_TRUE(contents.are_there());
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
