// Many threads on few cores: they allocate, fill, pass blocks on to each other and free what others
// allocated, near the budget's end, while the accounts are watched. Afterwards every block must be
// back and the walk must agree.
#include "alloc/heap.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace tern::alloc {
namespace {

constexpr unsigned kThreads = 8;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kRounds = 30'000;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
constexpr int kRounds = 30'000;
#else
constexpr int kRounds = 200'000;
#endif
#else
constexpr int kRounds = 200'000;
#endif

// Slots through which blocks change hands: an exchange each.
struct Exchange {
  std::atomic<std::uint64_t> slots[1024] = {};
};

struct Tally {
  std::uint64_t allocated = 0, refused = 0, passed = 0, extents = 0, spoiled = 0;
};

void stamp(Heap& heap, Offset block, std::size_t bytes) {
  std::memset(heap.at(block), static_cast<int>(block & 0xFF), bytes);
}
bool is_whole(const Heap& heap, Offset block, std::size_t bytes) {
  const auto* at = heap.at<unsigned char>(block);
  return at[0] == (block & 0xFF) && at[bytes / 2] == (block & 0xFF) &&
         at[bytes - 1] == (block & 0xFF);
}

Tally work(Heap& heap, Exchange& exchange, unsigned seed, const std::vector<std::size_t>& sizes) {
  Heap::Cache cache;
  std::mt19937 random(seed);
  Tally tally;
  std::vector<Offset> mine;
  const auto drop = [&](Offset block) {
    tally.spoiled += !is_whole(heap, block, heap.block_bytes(block));
    heap.free(cache, block);
  };
  for (int i = 0; i < kRounds; ++i) {
    const std::size_t bytes =
        sizes[(static_cast<std::size_t>(i) / 5000 + random() % 2) % sizes.size()];
    if (const Offset block = heap.allocate(cache, bytes)) {
      ++tally.allocated;
      stamp(heap, block, heap.block_bytes(block));
      if (random() % 2 == 0) {
        mine.push_back(block);
      } else if (const Offset other = exchange.slots[random() % 1024].exchange(block)) {
        ++tally.passed;
        drop(other);
      }
    } else {
      ++tally.refused;
      for (int k = 0; k < 50 && !mine.empty(); ++k) {
        std::swap(mine[random() % mine.size()], mine.back());
        drop(mine.back());
        mine.pop_back();
      }
      if (const Offset other = exchange.slots[random() % 1024].exchange(0)) drop(other);
    }
    if (random() % 64 == 0) {
      const std::size_t large = 1 + random() % 300'000;
      if (const Offset extent = heap.allocate_extent(large)) {
        ++tally.extents;
        stamp(heap, extent, large);
        std::this_thread::yield();
        tally.spoiled += !is_whole(heap, extent, large);
        heap.free_extent(extent, large);
      }
    }
    if (random() % 256 == 0) {
      const Offset block = heap.allocate_reserve(cache);
      if (block != 0) {
        stamp(heap, block, kReserveBlockBytes);
        drop(block);
      }
    }
    if (random() % 20'000 == 0) heap.release_cache(cache);
    if (!mine.empty() && random() % 3 == 0) {
      std::swap(mine[random() % mine.size()], mine.back());
      drop(mine.back());
      mine.pop_back();
    }
  }
  for (const Offset block : mine) drop(block);
  heap.release_cache(cache);
  return tally;
}

void stress(std::size_t memory_bytes, const std::vector<std::size_t>& sizes) {
  Heap heap;
  HeapOptions options;
  options.memory_bytes = memory_bytes;
  options.memory_bytes_max = memory_bytes * 2;
  options.table_bytes_max = 1 << 20;
  ASSERT_EQ(heap.open(options), Error::kNone);
  auto exchange = std::make_unique<Exchange>();
  std::vector<Tally> tallies(kThreads);
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> over{0}, looks{0};
  {
    std::thread watcher([&] {
      bool wide = false;
      while (!done.load()) {
        over += heap.used_bytes() > heap.budget_bytes() && heap.used_bytes() > 2 * memory_bytes;
        const Stats stats = heap.stats();
        over += stats.used_bytes > stats.limit_bytes;
        if (++looks % 64 == 0)
          wide = heap.resize(wide ? memory_bytes : memory_bytes * 5 / 4) ? !wide : wide;
        std::this_thread::yield();
      }
    });
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] { tallies[t] = work(heap, *exchange, t + 1, sizes); });
    }
    for (auto& thread : threads) thread.join();
    done = true;
    watcher.join();
  }
  Heap::Cache cache;
  Tally sum;
  for (const Tally& t : tallies) {
    sum.allocated += t.allocated;
    sum.refused += t.refused;
    sum.passed += t.passed;
    sum.extents += t.extents;
    sum.spoiled += t.spoiled;
  }
  for (auto& slot : exchange->slots) {
    if (const Offset block = slot.load()) {
      sum.spoiled += !is_whole(heap, block, heap.block_bytes(block));
      heap.free(cache, block);
    }
  }
  heap.release_cache(cache);
  std::printf(
      "allocated %llu, refused %llu, passed on %llu, extents %llu, looks at the accounts %llu\n",
      static_cast<unsigned long long>(sum.allocated), static_cast<unsigned long long>(sum.refused),
      static_cast<unsigned long long>(sum.passed), static_cast<unsigned long long>(sum.extents),
      static_cast<unsigned long long>(looks.load()));
  EXPECT_EQ(sum.spoiled, 0u);
  EXPECT_EQ(over.load(), 0u);
  EXPECT_GT(sum.passed, 1000u);
  EXPECT_TRUE(heap.verify());
  const Stats stats = heap.stats();
  for (unsigned c = 0; c < kAllClasses; ++c) {
    EXPECT_EQ(stats.classes[c].blocks_free, stats.classes[c].blocks_total)
        << stats.classes[c].block_bytes;
  }
}

TEST(HeapThreads, OneClassInASmallHeap) { stress(4 << 20, {112}); }
TEST(HeapThreads, ChangingClassesInASmallHeap) { stress(6 << 20, {16, 112, 8000, 500, 2000, 64}); }
TEST(HeapThreads, LargeBlocksInALargeHeap) { stress(256 << 20, {60'000, 112, 20'000}); }

}  // namespace
}  // namespace tern::alloc
