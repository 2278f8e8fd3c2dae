// Draining by one thread: what is picked, that it serves nobody, that the walk finds each block in
// use, that an emptied span serves another class, and the way back.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "alloc/heap.h"

namespace tern::alloc {
namespace {

constexpr std::size_t kMiB = 1 << 20;

class Drain : public testing::Test {
 protected:
  void open(std::size_t bytes = 4 * kMiB) {
    HeapOptions options;
    options.memory_bytes = bytes;
    options.table_bytes_max = kMiB;
    ASSERT_EQ(heap_.open(options), Error::kNone);
  }
  void fill(std::size_t bytes) {
    while (const Offset block = heap_.allocate(cache_, bytes)) blocks_.push_back(block);
  }
  // Frees all but one of `n`.
  void thin_out(std::size_t n) {
    std::vector<Offset> kept;
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      if (i % n == 0) {
        kept.push_back(blocks_[i]);
      } else {
        heap_.free(cache_, blocks_[i]);
      }
    }
    blocks_ = kept;
    std::sort(blocks_.begin(), blocks_.end());
  }
  // Every block that walks over all draining spans hand out.
  std::vector<Offset> walk_all() {
    std::vector<Offset> found;
    for (std::size_t span = heap_.next_draining(0); span != heap_.kNone;
         span = heap_.next_draining(span + 1)) {
      Offset some[64];
      std::size_t bytes = 0;
      for (std::size_t n; (n = heap_.walk(span, some, bytes)) != heap_.kNone;)
        found.insert(found.end(), some, some + n);
    }
    return found;
  }
  // What an owner of blocks does: a block elsewhere for each that is found.
  std::size_t move_all() {
    heap_.sift(cache_);
    std::size_t moved = 0;
    for (const Offset block : walk_all()) {
      const auto it = std::find(blocks_.begin(), blocks_.end(), block);
      if (it == blocks_.end()) continue;
      const Offset copy = heap_.allocate(cache_, heap_.block_bytes(block));
      if (copy == 0) break;
      EXPECT_FALSE(heap_.is_draining(copy));
      *it = copy;
      heap_.free(cache_, block);
      heap_.sift(cache_);
      ++moved;
    }
    return moved;
  }

  Heap heap_;
  Heap::Cache cache_;
  std::vector<Offset> blocks_;
};

TEST_F(Drain, NothingIsMarkedWhereNothingWouldHelp) {
  open();
  EXPECT_FALSE(heap_.drain_for(64)) << "an empty heap";
  fill(64);
  EXPECT_FALSE(heap_.drain_for(4096)) << "a full one";
  EXPECT_FALSE(heap_.drain_for(100'000));
  EXPECT_EQ(heap_.next_draining(0), heap_.kNone);
  EXPECT_TRUE(heap_.verify());
}

TEST_F(Drain, AThinnedOutHeapServesEveryOtherSize) {
  for (const std::size_t bytes : {16, 200, 4000, 8192}) {
    SCOPED_TRACE(bytes);
    if (heap_.base() == nullptr) open();
    for (const Offset b : blocks_) heap_.free(cache_, b);
    blocks_.clear();
    fill(64);
    thin_out(16);
    std::vector<Offset> others;
    for (;;) {
      if (const Offset block = heap_.allocate(cache_, bytes)) {
        others.push_back(block);
        continue;
      }
      if (!heap_.drain_for(bytes)) break;
      EXPECT_TRUE(heap_.verify());
      move_all();
      ASSERT_TRUE(heap_.verify());
    }
    EXPECT_GT(others.size() * bytes, 4 * kMiB * 78 / 100) << "the cut of a span into the largest blocks loses an eighth";
    for (const Offset b : others) heap_.free(cache_, b);
  }
}

TEST_F(Drain, ExtentsGetARunOfSpans) {
  open(8 * kMiB);
  fill(64);
  thin_out(16);
  ASSERT_EQ(heap_.allocate_extent(kMiB), 0u);
  ASSERT_TRUE(heap_.drain_for(kMiB));
  EXPECT_GT(move_all(), 200u);
  EXPECT_NE(heap_.allocate_extent(kMiB), 0u) << "in one go";
  EXPECT_TRUE(heap_.verify());
}

TEST_F(Drain, AWalkFindsEachBlockInUseOnce) {
  open();
  fill(48);
  thin_out(5);
  ASSERT_TRUE(heap_.drain_for(4096));
  heap_.sift(cache_);
  std::vector<Offset> expected;
  for (const Offset block : blocks_) {
    if (heap_.is_draining(block)) expected.push_back(block);
  }
  std::vector<Offset> found = walk_all();
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, expected);
  EXPECT_TRUE(walk_all().empty()) << "this walk is complete";
  ASSERT_TRUE(heap_.walk_again(heap_.next_draining(0)));
  EXPECT_EQ(walk_all().size(), expected.size());
}

TEST_F(Drain, AWalkOfLargeBlocksGoesInSmallSteps) {
  open(128 * kMiB);
  fill(12'000);
  thin_out(2);
  ASSERT_TRUE(heap_.drain_for(4096));
  heap_.sift(cache_);
  const std::size_t span = heap_.next_draining(0);
  std::vector<Offset> found;
  for (unsigned walks = 0; walks != 2; ++walks) {
    found.clear();
    Offset some[64];
    std::size_t bytes = 0;
    for (std::size_t n; (n = heap_.walk(span, some, bytes)) != heap_.kNone;) {
      EXPECT_LE(n * bytes, std::size_t{64} << 10);
      found.insert(found.end(), some, some + n);
    }
    EXPECT_EQ(static_cast<std::size_t>(std::count_if(blocks_.begin(), blocks_.end(), [&](Offset b) { return heap_.is_draining(b); })),
              found.size());
    EXPECT_EQ(walks == 0, heap_.walk_again(span) && walks == 0);
  }
  EXPECT_GT(found.size(), 10u);
}

TEST_F(Drain, ADrainingSpanServesNobodyAndThenAgain) {
  open();
  fill(64);
  thin_out(4);
  const std::size_t free_before = heap_.stats().classes[class_of(64)].blocks_free;
  ASSERT_TRUE(heap_.drain_for(4096));
  heap_.sift(cache_);
  const std::size_t before = blocks_.size();
  fill(64);
  for (std::size_t i = before; i < blocks_.size(); ++i) ASSERT_FALSE(heap_.is_draining(blocks_[i]));
  EXPECT_LT(blocks_.size() - before, free_before);
  EXPECT_TRUE(heap_.verify());
  heap_.undrain(heap_.next_draining(0));
  EXPECT_EQ(heap_.next_draining(0), heap_.kNone);
  fill(64);
  EXPECT_EQ(heap_.stats().classes[class_of(64)].blocks_free, 0u);
  EXPECT_GE(blocks_.size() - before, free_before);
  EXPECT_TRUE(heap_.verify());
}

TEST_F(Drain, WhatCannotBeMovedIsGivenUpAndPassedOver) {
  open();
  fill(64);
  thin_out(4);
  std::map<std::size_t, int> picked;
  for (int round = 0; round < 40; ++round) {
    if (!heap_.drain_for(4096)) continue;  // all of them are tired: from here on they count again
    const std::size_t span = heap_.next_draining(0);
    ASSERT_NE(span, heap_.kNone);
    ++picked[span];
    int walks = 0;
    do {
      ++walks;
      (void)walk_all();
    } while (heap_.walk_again(span));
    EXPECT_EQ(walks, 3);
    EXPECT_EQ(heap_.next_draining(0), heap_.kNone);
  }
  EXPECT_GT(picked.size(), 20u) << "the same spans were picked again and again";
  EXPECT_TRUE(heap_.verify());
}

TEST_F(Drain, MagazinesGiveBackWhatDrains) {
  open();
  Heap::Cache other;
  fill(64);
  thin_out(16);
  std::vector<Offset> taken;
  for (int i = 0; i < 40; ++i) taken.push_back(heap_.allocate(other, 64));
  for (const Offset b : taken) heap_.free(other, b);
  ASSERT_GT(other.held_bytes(), 0u);
  EXPECT_FALSE(heap_.wants_back(other));
  std::size_t drained = 0;
  while (heap_.drain_for(4096)) ++drained;  // all but what the rest needs
  ASSERT_GT(drained, 10u);
  EXPECT_TRUE(heap_.wants_back(other));
  heap_.sift(other);
  EXPECT_FALSE(heap_.wants_back(other));
  for (Offset b; other.held_bytes() != 0;) {
    b = heap_.allocate(other, 64);
    EXPECT_FALSE(heap_.is_draining(b));
  }
}

TEST_F(Drain, BucketsLieByThemselvesAndAreLeftAlone) {
  open();
  std::set<Offset> buckets;
  for (int i = 0; i < 100; ++i) {
    const Offset b = heap_.allocate_bucket();
    ASSERT_NE(b, 0u);
    EXPECT_EQ(b * kUnitBytes % 64, 0u);
    EXPECT_EQ(heap_.block_bytes(b), kBucketBytes);
    buckets.insert(b);
  }
  fill(64);
  EXPECT_TRUE(heap_.has_bucket());
  thin_out(16);
  while (heap_.drain_for(4096)) {
  }
  for (const Offset b : buckets) {
    EXPECT_FALSE(heap_.is_draining(b));
    heap_.free(cache_, b);
  }
  EXPECT_TRUE(heap_.verify());
}

TEST_F(Drain, ABudgetSinksAsSpansAreEmptied) {
  open(16 * kMiB);
  fill(64);
  thin_out(16);
  const std::size_t used = heap_.used_bytes();
  ASSERT_GT(used, 15 * kMiB);
  EXPECT_FALSE(heap_.resize(6 * kMiB)) << "not at once";
  EXPECT_EQ(heap_.budget_bytes(), 16 * kMiB);
  ASSERT_TRUE(heap_.resize_in_time(6 * kMiB));
  EXPECT_EQ(heap_.budget_bytes(), heap_.used_bytes()) << "nothing that is given up can be taken again";
  std::size_t before = heap_.budget_bytes();
  while (!heap_.give_up_empty()) {
    ASSERT_TRUE(heap_.drain_to_shrink());
    move_all();
    EXPECT_EQ(heap_.allocate_extent(1), 0u);
    ASSERT_LE(heap_.budget_bytes(), before);
    ASSERT_LE(heap_.used_bytes(), heap_.budget_bytes());
    before = heap_.budget_bytes();
    ASSERT_TRUE(heap_.verify());
  }
  EXPECT_EQ(heap_.budget_bytes(), 6 * kMiB);
  EXPECT_EQ(heap_.shrinking_bytes(), 0u);
  EXPECT_LE(heap_.resident_bytes(), 6 * kMiB) << "the resident set follows";
  EXPECT_TRUE(heap_.resize_in_time(16 * kMiB));
  EXPECT_EQ(heap_.budget_bytes(), 16 * kMiB);
  EXPECT_FALSE(heap_.resize_in_time(16 * kMiB + 65'536));
  EXPECT_FALSE(heap_.resize_in_time(1 * kMiB));
  const std::size_t least = heap_.least_bytes(16 * kMiB);
  EXPECT_GT(least, blocks_.size() * 64);
  EXPECT_LT(least, heap_.used_bytes() + kMiB);
  EXPECT_TRUE(heap_.verify());
}

TEST_F(Drain, AShrunkHeapKeepsALesserReserve) {
  open(256 * kMiB);
  const std::size_t reserve = heap_.stats().reserve_bytes;
  ASSERT_TRUE(heap_.resize_in_time(64 * kMiB));
  EXPECT_EQ(heap_.budget_bytes(), 64 * kMiB);
  EXPECT_LT(heap_.stats().reserve_bytes, reserve);
  EXPECT_GT(heap_.stats().reserve_bytes, 0u);
  EXPECT_TRUE(heap_.verify());
}

}  // namespace
}  // namespace tern::alloc
