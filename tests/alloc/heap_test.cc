// The heap by one thread: sizes, alignment, exact accounts, the reserve, extents, resize, regions,
// the table's range.
#include "alloc/heap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace tern::alloc {
namespace {

constexpr std::size_t kMiB = 1 << 20;

std::unique_ptr<Heap> open_heap(const HeapOptions& options) {
  auto heap = std::make_unique<Heap>();
  EXPECT_EQ(heap->open(options), Error::kNone);
  return heap;
}

HeapOptions small_options(std::size_t bytes = 4 * kMiB) {
  HeapOptions options;
  options.memory_bytes = bytes;
  options.table_bytes_max = kMiB;
  return options;
}

std::vector<Offset> fill(Heap& heap, Heap::Cache& cache, std::size_t bytes) {
  std::vector<Offset> blocks;
  while (const Offset block = heap.allocate(cache, bytes)) blocks.push_back(block);
  return blocks;
}

void free_all(Heap& heap, Heap::Cache& cache, std::vector<Offset>& blocks) {
  for (const Offset block : blocks) heap.free(cache, block);
  blocks.clear();
}

std::size_t free_bytes_in_bitmaps(const Heap& heap) {
  std::size_t sum = 0;
  heap.for_each_block([&](Offset, std::size_t bytes, bool is_free) { sum += is_free ? bytes : 0; });
  return sum;
}

// --- size classes ----------------------------------------------------------------------

TEST(SizeClasses, EverySizeGetsTheLeastClassThatHoldsIt) {
  std::vector<std::size_t> sizes;
  for (unsigned c = 0; c < kClassCount; ++c) sizes.push_back(class_bytes(c));
  ASSERT_TRUE(std::is_sorted(sizes.begin(), sizes.end()));
  for (std::size_t bytes = 0; bytes <= kClassBytesMax; ++bytes) {
    const auto least = std::lower_bound(sizes.begin(), sizes.end(), bytes);
    ASSERT_EQ(class_of(bytes), least - sizes.begin()) << bytes;
  }
}

TEST(SizeClasses, AreEightBytesApartBelow256AndAnEighthAbove) {
  for (unsigned c = 1; c < kClassCount; ++c) {
    const std::size_t below = class_bytes(c - 1), here = class_bytes(c);
    EXPECT_EQ(here % 8, 0u);
    if (here <= 256) {
      EXPECT_EQ(here - below, 8u);
    } else {
      EXPECT_LE((here - below) * 8, below) << here;
    }
  }
}

TEST(SizeClasses, ARoundValueHasRoomForItsHeaderAndKey) {
  for (std::size_t pages = 1; pages <= 16; ++pages) {
    for (const std::size_t key : {1, 20, 100}) {
      const std::size_t bytes = pages * 4096 + 24 + key;
      EXPECT_LE(class_bytes(class_of(bytes)), pages * 4096 + kBesideRound) << bytes;
    }
  }
}

TEST(SizeClasses, BlockIndexByReciprocalIsExact) {
  for (const std::size_t span_bytes : {std::size_t{64} << 10, std::size_t{512} << 10, std::size_t{2} << 20}) {
    for (unsigned c = 0; c < kAllClasses; ++c) {
      if (class_bytes(c) * 7 > span_bytes) continue;
      const ClassInfo info = ClassInfo::of(class_bytes(c), span_bytes);
      for (std::uint64_t unit = 0; unit < span_bytes / 8; ++unit) {
        ASSERT_EQ(info.index_of(unit), unit / info.units) << class_bytes(c) << " at " << unit;
      }
    }
  }
}

TEST(SizeClasses, FullWordsHoldEveryBlockOnceAndNoneUnderTheBitmap) {
  for (const std::size_t span_bytes : {std::size_t{64} << 10, std::size_t{512} << 10, std::size_t{2} << 20}) {
    for (unsigned c = 0; c < kAllClasses; ++c) {
      if (class_bytes(c) * 7 > span_bytes) continue;
      const ClassInfo info = ClassInfo::of(class_bytes(c), span_bytes);
      for (std::size_t span = 0; span < 40; ++span) {
        std::size_t bits = 0;
        for (std::uint32_t w = 0; w < info.words; ++w)
          bits += std::popcount(info.full_word(span, w));
        ASSERT_EQ(bits, info.blocks);
        ASSERT_LE(info.bitmap_at(span) + info.bitmap_blocks, info.indexes);
        for (std::uint32_t i = 0; i < info.bitmap_blocks; ++i) {
          const std::uint32_t index = info.bitmap_at(span) + i;
          ASSERT_FALSE(info.full_word(span, index / 64) >> (index % 64) & 1);
        }
        ASSERT_GE(std::size_t{info.bitmap_blocks} * class_bytes(c),
                  info.bitmap_blocks ? info.words * 8 : 0);
      }
    }
  }
}

// --- blocks ----------------------------------------------------------------------------

class HeapOfSize : public testing::TestWithParam<std::size_t> {};

TEST_P(HeapOfSize, EveryClassEdgeIsServedAlignedAndWritable) {
  auto heap = open_heap(small_options(GetParam()));
  Heap::Cache cache;
  std::set<std::size_t> sizes{0, 1, heap->largest_block()};
  for (unsigned c = 0; c < kClassCount && class_bytes(c) <= heap->largest_block(); ++c) {
    for (const std::size_t bytes : {class_bytes(c) - 1, class_bytes(c), class_bytes(c) + 1}) {
      if (bytes <= heap->largest_block()) sizes.insert(bytes);
    }
  }
  for (const std::size_t bytes : sizes) {
    const Offset block = heap->allocate(cache, bytes);
    ASSERT_NE(block, 0u) << bytes;
    const std::size_t size = heap->block_bytes(block);
    ASSERT_GE(size, bytes);
    ASSERT_EQ(size, class_bytes(class_of(bytes)));
    const std::size_t alignment = std::min<std::size_t>(size & (~size + 1), 4096);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(heap->at(block)) % alignment, 0u) << bytes;
    std::memset(heap->at(block), 0xAB, size);
    heap->free(cache, block);
  }
  heap->release_cache(cache);
  EXPECT_TRUE(heap->verify());
}

TEST_P(HeapOfSize, SizesPastTheLargestBlockAreRefused) {
  auto heap = open_heap(small_options(GetParam()));
  Heap::Cache cache;
  const std::size_t used = heap->used_bytes();
  for (const std::size_t bytes : {heap->largest_block() + 1, kClassBytesMax + 1,
                                  std::size_t{1} << 32, ~std::size_t{0} - 7, ~std::size_t{0}}) {
    EXPECT_EQ(heap->allocate(cache, bytes), 0u) << bytes;
  }
  EXPECT_EQ(heap->used_bytes(), used);
}

TEST_P(HeapOfSize, FreshBlocksComeInAscendingOrder) {
  auto heap = open_heap(small_options(GetParam()));
  Heap::Cache cache;
  Offset last = 0;
  for (int i = 0; i < 20'000; ++i) {
    const Offset block = heap->allocate(cache, 112);
    ASSERT_GT(block, last);
    last = block;
  }
}

TEST_P(HeapOfSize, BlocksDoNotOverlapAndOffsetsStayInRange) {
  auto heap = open_heap(small_options(GetParam()));
  Heap::Cache cache;
  std::mt19937 random(1);
  std::vector<std::pair<Offset, std::size_t>> blocks;
  for (int i = 0; i < 3000; ++i) {
    const Offset block = heap->allocate(cache, random() % (heap->largest_block() / 8));
    if (block == 0) break;
    blocks.emplace_back(block, heap->block_bytes(block));
  }
  std::sort(blocks.begin(), blocks.end());
  for (std::size_t i = 1; i < blocks.size(); ++i) {
    ASSERT_GE(blocks[i].first * 8, blocks[i - 1].first * 8 + blocks[i - 1].second);
  }
  EXPECT_LT(blocks.back().first, std::uint64_t{1} << 40);
}

TEST_P(HeapOfSize, AccountsMatchAWalkAfterRandomOperations) {
  auto heap = open_heap(small_options(GetParam()));
  Heap::Cache cache;
  std::mt19937 random(7);
  std::vector<Offset> blocks;
  std::size_t live_bytes = 0;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 2000; ++i) {
      if (random() % 5 < 3 || blocks.empty()) {
        const std::size_t bytes = random() % 3 == 0 ? random() % 4096 : random() % 300;
        if (const Offset block = heap->allocate(cache, bytes)) {
          live_bytes += heap->block_bytes(block);
          blocks.push_back(block);
        }
      } else {
        std::swap(blocks[random() % blocks.size()], blocks.back());
        live_bytes -= heap->block_bytes(blocks.back());
        heap->free(cache, blocks.back());
        blocks.pop_back();
      }
    }
    std::size_t total = 0;
    heap->for_each_block([&](Offset, std::size_t bytes, bool) { total += bytes; });
    ASSERT_EQ(total - free_bytes_in_bitmaps(*heap), live_bytes + cache.held_bytes());
    ASSERT_EQ(heap->taken_bytes(), live_bytes + cache.held_bytes());
    ASSERT_TRUE(heap->verify());
    const Stats stats = heap->stats();
    ASSERT_EQ(stats.used_bytes,
              stats.table_bytes + stats.span_bytes + stats.extent_bytes + stats.overhead_bytes);
    ASSERT_LE(stats.used_bytes, stats.limit_bytes);
  }
  free_all(*heap, cache, blocks);
  heap->release_cache(cache);
  EXPECT_EQ(cache.held_bytes(), 0u);
  std::size_t taken = 0;
  heap->for_each_block([&](Offset, std::size_t, bool is_free) { taken += !is_free; });
  EXPECT_EQ(taken, 0u);
  EXPECT_TRUE(heap->verify());
}

INSTANTIATE_TEST_SUITE_P(Budgets, HeapOfSize,
                         testing::Values(4 * kMiB, 5 * kMiB + 4097, 64 * kMiB, 256 * kMiB,
                                         300 * kMiB),
                         [](const auto& test) { return std::to_string(test.param >> 10) + "KiB"; });

// --- the budget ------------------------------------------------------------------------

TEST(Heap, FourMebibytesFillToTheLastBlockAndBack) {
  auto heap = open_heap(small_options());
  Heap::Cache cache;
  const std::size_t empty = heap->used_bytes();
  for (const std::size_t bytes : {16, 24, 64, 112, 256, 1000, 4096, 8192}) {
    std::vector<Offset> blocks = fill(*heap, cache, bytes);
    // All but the reserve (1/64), the accounts and what a span's cut loses.
    const std::size_t size = class_bytes(class_of(bytes)), cut = heap->span_bytes() / size * size;
    EXPECT_GT(blocks.size() * size, heap->budget_bytes() * 94 / 100 * cut / heap->span_bytes()) << bytes;
    EXPECT_LE(heap->used_bytes(), heap->budget_bytes());
    EXPECT_GT(heap->used_bytes() + Heap::kGranuleBytes, heap->budget_bytes());
    EXPECT_EQ(heap->allocate(cache, bytes), 0u);
    heap->free(cache, blocks.back());
    blocks.back() = heap->allocate(cache, bytes);  // the very last block comes back
    EXPECT_NE(blocks.back(), 0u);
    EXPECT_EQ(heap->allocate(cache, bytes), 0u);
    EXPECT_TRUE(heap->verify());
    free_all(*heap, cache, blocks);
  }
  heap->release_cache(cache);
  // Empty spans are given up for an extent that needs all of the room.
  const Offset extent = heap->allocate_extent((heap->budget_bytes() - empty) / Heap::kGranuleBytes *
                                              Heap::kGranuleBytes);
  EXPECT_NE(extent, 0u);
  EXPECT_TRUE(heap->verify());
}

TEST(Heap, AnotherClassTakesTheSpansOfAnEmptyOne) {
  auto heap = open_heap(small_options());
  Heap::Cache cache;
  std::vector<Offset> blocks = fill(*heap, cache, 64);
  const std::size_t count = blocks.size();
  EXPECT_EQ(heap->allocate(cache, 2048), 0u);
  free_all(*heap, cache, blocks);  // some of them stay in the magazine of the other class
  blocks = fill(*heap, cache, 2048);
  EXPECT_GT(blocks.size() * 2048, count * 64 * 97 / 100);
  EXPECT_TRUE(heap->verify());
}

TEST(Heap, WhatMayBeOfManySizesTakesWhatIsAtHand) {
  auto heap = open_heap(small_options());
  Heap::Cache cache;
  std::vector<Offset> blocks = fill(*heap, cache, 120);
  for (int i = 0; i != 10; ++i, blocks.pop_back()) heap->free(cache, blocks.back());
  ASSERT_EQ(cache.held_bytes(), 10 * 120u);
  for (const std::size_t wanted : {512u, 64u, 120u}) {  // the largest below, up to `most`, and what is there
    const std::size_t held = cache.held_bytes();
    const Offset block = heap->allocate_between(cache, 64, wanted, std::max(wanted, std::size_t{256}));
    ASSERT_NE(block, 0u) << wanted;
    EXPECT_EQ(heap->block_bytes(block), 120u);
    EXPECT_EQ(cache.held_bytes(), held - 120) << "what else this thread has stays with it";
    blocks.push_back(block);
  }
  EXPECT_EQ(heap->allocate_between(cache, 128, 512, 512), 0u);
  EXPECT_EQ(heap->allocate_between(cache, 64, 64, 112), 0u);
  free_all(*heap, cache, blocks);
  for (const std::size_t wanted : {64u, 512u}) {
    blocks.push_back(heap->allocate_between(cache, 64, wanted, 512));
    EXPECT_EQ(heap->block_bytes(blocks.back()), wanted) << "where there is room";
  }
  free_all(*heap, cache, blocks);
  heap->release_cache(cache);
  EXPECT_TRUE(heap->verify());
}

TEST(Heap, WhatMayBeOfManySizesTakesWhatOthersHaveGivenBack) {
  auto heap = open_heap(small_options());
  Heap::Cache cache, other;
  const Offset at_hand = heap->allocate(cache, 2048);
  std::vector<Offset> blocks = fill(*heap, cache, 120);
  heap->free(cache, at_hand);
  for (int i = 0; i != 10; ++i, blocks.pop_back()) heap->free(other, blocks.back());
  heap->release_cache(other);
  ASSERT_EQ(cache.held_bytes(), 2048u);
  blocks.push_back(heap->allocate_between(cache, 64, 512, 512));
  ASSERT_NE(blocks.back(), 0u);
  EXPECT_EQ(heap->block_bytes(blocks.back()), 120u);
  EXPECT_EQ(heap->allocate(cache, 2048), at_hand) << "it stays with the thread";
  blocks.push_back(at_hand);
  free_all(*heap, cache, blocks);
  heap->release_cache(cache);
  EXPECT_TRUE(heap->verify());
}

TEST(Heap, AFailingAllocationChangesNothing) {
  auto heap = open_heap(small_options());
  Heap::Cache cache;
  std::vector<Offset> blocks = fill(*heap, cache, 112);
  const std::size_t used = heap->used_bytes(), held = cache.held_bytes();
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(heap->allocate(cache, 112), 0u);
    ASSERT_EQ(heap->allocate(cache, 8000), 0u);
    ASSERT_EQ(heap->allocate_extent(100'000), 0u);
    ASSERT_FALSE(heap->commit_table(0, 64 << 10));
  }
  EXPECT_EQ(heap->used_bytes(), used);
  EXPECT_EQ(cache.held_bytes(), held);
  EXPECT_TRUE(heap->verify());
}

TEST(Heap, TheReserveServesRemovalsOnly) {
  auto heap = open_heap(small_options());
  Heap::Cache cache;
  std::vector<Offset> blocks = fill(*heap, cache, 288);
  EXPECT_EQ(heap->allocate(cache, 288), 0u);
  std::vector<Offset> reserve;
  while (const Offset block = heap->allocate_reserve(cache)) {
    ASSERT_EQ(heap->block_bytes(block), kReserveBlockBytes);
    std::memset(heap->at(block), 1, kReserveBlockBytes);
    reserve.push_back(block);
  }
  EXPECT_GE(reserve.size() * kReserveBlockBytes, (heap->budget_bytes() / 64) * 99 / 100);
  EXPECT_EQ(heap->allocate(cache, 288), 0u);
  // Out of order, by another cache: each block is there again at once.
  Heap::Cache other;
  for (std::size_t i = 0; i < reserve.size(); i += 2) heap->free(other, reserve[i]);
  EXPECT_EQ(heap->allocate(cache, 288), 0u);
  for (std::size_t i = 0; i < reserve.size(); i += 2) {
    reserve[i] = heap->allocate_reserve(cache);
    EXPECT_NE(reserve[i], 0u);
  }
  EXPECT_EQ(heap->allocate_reserve(cache), 0u);
  for (const Offset block : reserve) heap->free(cache, block);
  free_all(*heap, cache, blocks);
  // An empty reserve is nobody's to take either.
  while (const Offset extent = heap->allocate_extent(Heap::kGranuleBytes)) blocks.push_back(extent);
  EXPECT_NE(heap->allocate_reserve(cache), 0u);
  EXPECT_TRUE(heap->verify());
}

TEST(Heap, TheReserveIsASixtyFourthOfALargeBudget) {
  auto heap = open_heap(small_options(1024 * kMiB));
  Heap::Cache cache;
  EXPECT_GE(heap->stats().reserve_bytes, 16 * kMiB);
  EXPECT_LE(heap->stats().reserve_bytes, 18 * kMiB);
}

// --- extents ---------------------------------------------------------------------------

TEST(Heap, ExtentsAreWholeGranulesAndCoverEverySize) {
  auto heap = open_heap(small_options(32 * kMiB));
  for (const std::size_t bytes : {std::size_t{1}, Heap::kGranuleBytes - 1, Heap::kGranuleBytes,
                                  Heap::kGranuleBytes + 1, 5 * kMiB, 16 * kMiB}) {
    const std::size_t used = heap->used_bytes();
    const Offset extent = heap->allocate_extent(bytes);
    ASSERT_NE(extent, 0u) << bytes;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(heap->at(extent)) % Heap::kGranuleBytes, 0u);
    std::memset(heap->at(extent), 1, bytes);
    EXPECT_EQ(heap->used_bytes() - used,
              (bytes + Heap::kGranuleBytes - 1) / Heap::kGranuleBytes * Heap::kGranuleBytes);
    heap->free_extent(extent, bytes);
    EXPECT_EQ(heap->used_bytes(), used);
  }
  EXPECT_EQ(heap->allocate_extent(0), 0u);
  EXPECT_EQ(heap->allocate_extent(33 * kMiB), 0u);
  EXPECT_EQ(heap->allocate_extent(~std::size_t{0}), 0u);
  EXPECT_TRUE(heap->verify());
}

TEST(Heap, ExtentsFindTheHolesThatFragmentationLeaves) {
  auto heap = open_heap(small_options(32 * kMiB));
  const std::size_t piece = 3 * Heap::kGranuleBytes;
  std::vector<Offset> extents;
  while (const Offset extent = heap->allocate_extent(piece)) extents.push_back(extent);
  EXPECT_GT(extents.size() * piece, 31 * kMiB);
  const std::size_t used = heap->used_bytes();
  for (std::size_t i = 0; i < extents.size(); i += 2) heap->free_extent(extents[i], piece);
  std::size_t refilled = 0;
  std::set<Offset> holes;
  for (std::size_t i = 0; i < extents.size(); i += 2) {
    if (const Offset extent = heap->allocate_extent(piece)) {
      ++refilled;
      ASSERT_TRUE(holes.insert(extent).second);
    }
  }
  EXPECT_EQ(refilled, (extents.size() + 1) / 2);
  EXPECT_EQ(heap->used_bytes(), used);
  EXPECT_TRUE(heap->verify());
}

TEST(Heap, SpansAndExtentsShareTheRangeOfALargeHeap) {
  auto heap = open_heap(small_options(256 * kMiB));
  Heap::Cache cache;
  std::mt19937 random(3);
  std::vector<std::pair<Offset, std::size_t>> extents;
  std::vector<Offset> blocks;
  for (int i = 0; i < 2000; ++i) {
    switch (random() % 4) {
      case 0: {
        const std::size_t bytes = 1 + random() % (3 * kMiB);
        if (const Offset extent = heap->allocate_extent(bytes)) extents.emplace_back(extent, bytes);
        break;
      }
      case 1:
        if (!extents.empty()) {
          std::swap(extents[random() % extents.size()], extents.back());
          heap->free_extent(extents.back().first, extents.back().second);
          extents.pop_back();
        }
        break;
      case 2:
        for (int k = 0; k < 100; ++k) {
          if (const Offset block = heap->allocate(cache, 20'000)) blocks.push_back(block);
        }
        break;
      default:
        for (int k = 0; k < 90 && !blocks.empty(); ++k) {
          std::swap(blocks[random() % blocks.size()], blocks.back());
          heap->free(cache, blocks.back());
          blocks.pop_back();
        }
    }
    ASSERT_LE(heap->used_bytes(), heap->budget_bytes());
  }
  EXPECT_TRUE(heap->verify());
}

// --- the table's range -----------------------------------------------------------------

TEST(Heap, TableChunksAreChargedZeroAndRefundable) {
  auto heap = open_heap(small_options(64 * kMiB));
  constexpr std::size_t kChunk = 64 << 10;
  const std::size_t used = heap->used_bytes();
  ASSERT_TRUE(heap->commit_table(0, kChunk));
  ASSERT_TRUE(heap->commit_table(kMiB - kChunk, kChunk));
  EXPECT_EQ(heap->used_bytes() - used, 2 * kChunk);
  EXPECT_EQ(heap->stats().table_bytes, 2 * kChunk);
  for (std::size_t i = 0; i < kChunk; ++i) ASSERT_EQ(heap->table()[i], std::byte{0});
  std::memset(heap->table(), 1, kChunk);
  // Two threads charge one chunk, and one of them takes it back.
  ASSERT_TRUE(heap->commit_table(kChunk, kChunk));
  ASSERT_TRUE(heap->commit_table(kChunk, kChunk));
  heap->uncommit_table(kChunk, kChunk);
  EXPECT_EQ(heap->used_bytes() - used, 3 * kChunk);
  EXPECT_TRUE(heap->verify());
  EXPECT_FALSE(heap->commit_table(kMiB, kChunk));  // past the range
  EXPECT_FALSE(heap->commit_table(kMiB - 4096, kChunk));
  EXPECT_FALSE(heap->commit_table(~std::size_t{0} - 4095, 4096));
  EXPECT_EQ(heap->used_bytes() - used, 3 * kChunk);
}

TEST(Heap, TheTableTakesEmptySpans) {
  auto heap = open_heap(small_options());
  Heap::Cache cache;
  std::vector<Offset> blocks = fill(*heap, cache, 112);
  EXPECT_FALSE(heap->commit_table(0, 512 << 10));
  free_all(*heap, cache, blocks);
  EXPECT_TRUE(heap->commit_table(0, 512 << 10));
  EXPECT_TRUE(heap->verify());
}

TEST(Heap, TheWholeTableRangeOfALargeHeapCanBeCommitted) {
  HeapOptions options = small_options(256 * kMiB);
  options.table_bytes_max = 64 * kMiB;
  auto heap = open_heap(options);
  std::mt19937 random(5);
  std::vector<std::size_t> chunks;
  for (std::size_t at = 0; at < options.table_bytes_max; at += 64 << 10) chunks.push_back(at);
  std::shuffle(chunks.begin(), chunks.end(), random);
  for (const std::size_t at : chunks) {
    ASSERT_TRUE(heap->commit_table(at, 64 << 10));
    std::memset(heap->table() + at, 0x5A, 64 << 10);
  }
  for (std::size_t i = 0; i < options.table_bytes_max; ++i)
    ASSERT_EQ(heap->table()[i], std::byte{0x5A});
  EXPECT_EQ(heap->stats().table_bytes, options.table_bytes_max);
  EXPECT_TRUE(heap->verify());
}

// --- resize ----------------------------------------------------------------------------

TEST(Heap, ResizeGrowsAndShrinksWithinTheReservedRange) {
  HeapOptions options = small_options(8 * kMiB);
  options.memory_bytes_max = 32 * kMiB;
  auto heap = open_heap(options);
  Heap::Cache cache;
  std::vector<Offset> blocks = fill(*heap, cache, 1024);
  const std::size_t at_first = blocks.size();
  EXPECT_FALSE(heap->resize(33 * kMiB));
  EXPECT_FALSE(heap->resize(3 * kMiB));
  EXPECT_FALSE(heap->resize(0));
  EXPECT_EQ(heap->budget_bytes(), 8 * kMiB);
  ASSERT_TRUE(heap->resize(32 * kMiB));
  EXPECT_EQ(heap->budget_bytes(), 32 * kMiB);
  while (const Offset block = heap->allocate(cache, 1024)) blocks.push_back(block);
  EXPECT_GT(blocks.size(), at_first * 38 / 10);
  EXPECT_GE(heap->stats().reserve_bytes, 32 * kMiB / 64);
  const std::size_t used = heap->used_bytes();
  EXPECT_FALSE(heap->resize(16 * kMiB));  // below what is used
  EXPECT_EQ(heap->used_bytes(), used);
  EXPECT_EQ(heap->budget_bytes(), 32 * kMiB);
  free_all(*heap, cache, blocks);
  heap->release_cache(cache);
  ASSERT_TRUE(heap->resize(6 * kMiB));
  EXPECT_LE(heap->used_bytes(), 6 * kMiB);
  EXPECT_LE(heap->resident_bytes(), 6 * kMiB);
  EXPECT_GT(fill(*heap, cache, 1024).size(), 4 * kMiB / 1024);
  EXPECT_TRUE(heap->verify());
}

struct LargeShape : DefaultShape {
  static constexpr std::size_t kLargeSpansFrom = std::size_t{64} << 20;
};

// As a heap of 2 GiB has them.
TEST(Heap, SpansOfTwoMebibytesHoldEverySize) {
  using LargeHeap = BasicHeap<detail::StdSync, LargeShape>;
  LargeHeap heap;
  ASSERT_EQ(heap.open(small_options(64 * kMiB)), Error::kNone);
  ASSERT_EQ(heap.span_bytes(), 2 * kMiB);
  LargeHeap::Cache cache;
  std::mt19937_64 random(1);
  std::vector<Offset> blocks;
  for (int round = 0; round != 4; ++round) {
    for (;;) {
      const std::size_t bytes = 1 + random() % (std::size_t{16} << random() % 14);
      const Offset block = heap.allocate(cache, bytes);
      if (block == 0) break;
      std::memset(heap.at(block), round, heap.block_bytes(block));
      blocks.push_back(block);
    }
    ASSERT_TRUE(heap.verify());
    std::shuffle(blocks.begin(), blocks.end(), random);
    for (std::size_t i = round == 3 ? 0 : blocks.size() / 4; i != blocks.size(); ++i) heap.free(cache, blocks[i]);
    blocks.resize(round == 3 ? 0 : blocks.size() / 4);
    ASSERT_TRUE(heap.verify());
  }
  heap.release_cache(cache);
  ASSERT_NE(heap.allocate(cache, heap.largest_block()), 0u);
  EXPECT_EQ(heap.allocate(cache, heap.largest_block() + 1), 0u);
}

// What a growing heap will want next is touched ahead, each time that it was found grown, until enough lies ready.
TEST(HeapTouch, IsAheadOfTheHeapThatGrows) {
  HeapOptions options = small_options(64 * kMiB);
  options.huge_pages = false;
  const auto heap = open_heap(options);
  Heap::Cache cache;
  const std::size_t span = heap->span_bytes();
  constexpr std::size_t kAhead = 64 * kMiB / 32;
  EXPECT_FALSE(heap->touch_ahead(span)) << "nobody knows yet whether it grows";
  std::vector<Offset> blocks;
  const auto grow = [&] {
    for (const std::size_t used = heap->stats().used_bytes; heap->stats().used_bytes == used;) blocks.push_back(heap->allocate(cache, 1'000));
  };
  const auto touch_all = [&] {
    unsigned touched = 0;
    while (heap->touch_ahead(span)) ++touched;
    return touched;
  };
  grow();
  EXPECT_FALSE(heap->touch_ahead(span - 1)) << "it doesn't fit";
  const std::size_t before = heap->resident_bytes();
  EXPECT_EQ(touch_all(), kAhead / span);
  EXPECT_EQ(heap->resident_bytes(), before + kAhead);
  EXPECT_EQ(touch_all(), 0u) << "it hasn't grown since";
  for (std::size_t spans = 0; spans != kAhead / span; ++spans) grow();
  EXPECT_EQ(heap->resident_bytes(), before + kAhead) << "into what lay ready";
  EXPECT_EQ(touch_all(), kAhead / span);
  EXPECT_TRUE(heap->verify());
  // Never past the budget.
  for (Offset more = 1; more != 0;) {
    touch_all();
    if (more = heap->allocate(cache, 1'000); more != 0) blocks.push_back(more);
  }
  EXPECT_LE(heap->resident_bytes(), options.memory_bytes);
  free_all(*heap, cache, blocks);
  EXPECT_TRUE(heap->verify());
}

// Who had to wait for the kernel says so, once the heap is worth a thread; when enough lies ready nobody waits any more.
TEST(HeapTouch, WhoWaitedForTheKernelSaysSo) {
  HeapOptions options = small_options(64 * kMiB);
  options.huge_pages = false;
  const auto heap = open_heap(options);
  Heap::Cache cache;
  std::vector<Offset> blocks;
  while (heap->used_bytes() < Heap::kTouchedAheadBytes - heap->span_bytes()) {
    blocks.push_back(heap->allocate(cache, 1'000));
    ASSERT_FALSE(heap->met_fresh()) << heap->used_bytes();
  }
  while (!heap->met_fresh()) {
    blocks.push_back(heap->allocate(cache, 1'000));
    ASSERT_LT(heap->used_bytes(), 2 * Heap::kTouchedAheadBytes);
  }
  while (heap->touch_ahead(heap->span_bytes())) {
  }
  EXPECT_FALSE(heap->met_fresh());
  EXPECT_GE(heap->resident_bytes(), heap->used_bytes() + 64 * kMiB / 32);
  for (const std::size_t used = heap->used_bytes(); heap->used_bytes() < used + kMiB;) {
    blocks.push_back(heap->allocate(cache, 1'000));
    ASSERT_FALSE(heap->met_fresh()) << "it grows into what lies ready";
  }
  free_all(*heap, cache, blocks);
  EXPECT_TRUE(heap->verify());
}

// --- opening ---------------------------------------------------------------------------

TEST(Heap, OpenRefusesWhatCannotBe) {
  const auto error = [](HeapOptions options) { return Heap().open(options); };
  HeapOptions good = small_options();
  EXPECT_EQ(error(good), Error::kNone);
  HeapOptions bad = good;
  bad.memory_bytes = 4 * kMiB - 1;
  EXPECT_EQ(error(bad), Error::kInvalidArgument);
  bad = good;
  bad.memory_bytes = 0;
  EXPECT_EQ(error(bad), Error::kInvalidArgument);
  bad = good;
  bad.memory_bytes_max = 4 * kMiB - 4096;
  EXPECT_EQ(error(bad), Error::kInvalidArgument);
  bad = good;
  bad.table_bytes_max = 4096;
  EXPECT_EQ(error(bad), Error::kInvalidArgument);
  bad = good;
  bad.memory_bytes = ~std::size_t{0};
  EXPECT_EQ(error(bad), Error::kTooLarge);
  bad = good;
  bad.table_bytes_max = ~std::size_t{0} << 16;
  EXPECT_EQ(error(bad), Error::kTooLarge);
  bad = good;
  bad.region_bytes = 8 * kMiB;
  EXPECT_EQ(error(bad), Error::kInvalidArgument);
}

TEST(Heap, AHeapThatRefusedOpensWithOtherOptions) {
  Heap heap;
  HeapOptions options = small_options();
  options.memory_bytes = 1;
  EXPECT_EQ(heap.open(options), Error::kInvalidArgument);
  EXPECT_EQ(heap.open(small_options()), Error::kNone);
  Heap::Cache cache;
  EXPECT_NE(heap.allocate(cache, 100), 0u);
}

TEST(Heap, WithoutATableAllOfTheRangeIsPages) {
  HeapOptions options = small_options();
  options.table_bytes_max = 0;
  auto heap = open_heap(options);
  Heap::Cache cache;
  EXPECT_NE(heap->allocate(cache, 64), 0u);
  EXPECT_FALSE(heap->commit_table(0, 4096));
}

class RegionTest : public testing::TestWithParam<std::size_t> {};

TEST_P(RegionTest, ACallersMemoryHoldsAllThereIs) {
  const std::size_t bytes = GetParam();
  // Dirty, and off every alignment; a guard behind it.
  std::vector<std::byte> memory(bytes + 4096, std::byte{0xEE});
  std::byte* region = memory.data() + 24;
  {
    HeapOptions options = small_options(bytes - 2 * kMiB - kMiB);
    options.region = region;
    options.region_bytes = bytes;
    auto heap = open_heap(options);
    Heap::Cache cache;
    ASSERT_GE(heap->base(), region);
    for (std::size_t i = 0; i < kMiB; ++i) ASSERT_EQ(heap->table()[i], std::byte{0});
    std::vector<Offset> blocks = fill(*heap, cache, 2000);
    EXPECT_GT(blocks.size() * 2048, (bytes - 3 * kMiB) * 80 / 100);
    for (const Offset block : blocks) {
      ASSERT_LE(heap->at(block) + 2048, region + bytes);
      std::memset(heap->at(block), 0x11, 2048);
    }
    EXPECT_TRUE(heap->verify());
    free_all(*heap, cache, blocks);
    EXPECT_NE(heap->allocate_extent(kMiB), 0u);
  }
  EXPECT_EQ(*std::max_element(region + bytes, memory.data() + memory.size()), std::byte{0xEE});
  EXPECT_EQ(*std::min_element(region + bytes, memory.data() + memory.size()), std::byte{0xEE});
  EXPECT_EQ(memory[23], std::byte{0xEE});
}

INSTANTIATE_TEST_SUITE_P(Sizes, RegionTest, testing::Values(8 * kMiB, 20 * kMiB, 300 * kMiB),
                         [](const auto& test) { return std::to_string(test.param >> 20) + "MiB"; });

TEST(Heap, ARegionThatIsTooSmallIsRefusedUntouched) {
  std::vector<std::byte> memory(kMiB, std::byte{0xEE});
  HeapOptions options = small_options();
  options.region = memory.data();
  options.region_bytes = memory.size();
  EXPECT_EQ(Heap().open(options), Error::kInvalidArgument);
  options.region_bytes = 1;
  EXPECT_EQ(Heap().open(options), Error::kInvalidArgument);
  for (const std::byte b : memory) ASSERT_EQ(b, std::byte{0xEE});
}

TEST(Heap, CachesAndHeapsComeAndGo) {
  for (int i = 0; i < 2000; ++i) {
    Heap heap;
    ASSERT_EQ(heap.open(small_options()), Error::kNone);
    Heap::Cache cache;
    const Offset block = heap.allocate(cache, 100);
    ASSERT_NE(block, 0u);
    heap.free(cache, block);
    heap.release_cache(cache);
    const Offset again = heap.allocate(cache, 100);  // a released cache is as good as new
    ASSERT_NE(again, 0u);
    ASSERT_TRUE(heap.verify());
  }
}

}  // namespace
}  // namespace tern::alloc
