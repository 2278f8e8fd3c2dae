// Random operations against a model: an ordered map of the ranges that are live. No two overlap,
// each keeps what was written into it, and the heap's accounts follow. A failure prints its seed;
// TERN_SEED runs just that one.
#include "alloc/heap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace tern::alloc {
namespace {

enum class Kind { kBlock, kReserve, kExtent, kTable };

struct Live {
  std::size_t bytes;
  std::uint64_t content;
  Kind kind;
};

class Model {
 public:
  Model(std::uint64_t seed, std::size_t memory_bytes, bool in_region) : random_(seed), caches_(3) {
    HeapOptions options;
    options.memory_bytes = memory_bytes;
    options.memory_bytes_max = memory_bytes + memory_bytes / 2;
    options.table_bytes_max = kTableBytes;
    options.huge_pages = seed % 2 == 0;
    options.magazine_blocks_max = 2 + static_cast<std::uint32_t>(seed % 100);
    if (in_region) {
      options.region_bytes = memory_bytes + kTableBytes + (4 << 20);
      region_ = std::make_unique<std::byte[]>(options.region_bytes);
      options.region = region_.get();
    }
    opened_ = heap_.open(options) == Error::kNone;
    for (auto& cache : caches_) cache = std::make_unique<Heap::Cache>();
  }

  void run(int operations) {
    ASSERT_TRUE(opened_);
    for (int i = 0; i < operations && !testing::Test::HasFatalFailure(); ++i) {
      operate();
      if (i % 1000 == 999) check_accounts();
    }
    closing_ = true;  // the table's chunks, which nothing gives back, are forgotten
    while (!live_.empty() && !testing::Test::HasFatalFailure()) drop(live_.begin());
    for (auto& cache : caches_) heap_.release_cache(*cache);
    check_accounts();
    const Stats stats = heap_.stats();
    for (unsigned c = 0; c < kAllClasses; ++c) {
      ASSERT_EQ(stats.classes[c].blocks_free, stats.classes[c].blocks_total)
          << stats.classes[c].block_bytes;
    }
    ASSERT_EQ(stats.extent_bytes, 0u);
  }

 private:
  static constexpr std::size_t kTableBytes = 1 << 20;
  static constexpr std::size_t kChunk = 64 << 10;

  std::size_t pick(std::size_t below) { return static_cast<std::size_t>(random_() % below); }
  Heap::Cache& cache() { return *caches_[pick(caches_.size())]; }

  std::size_t some_size() {
    switch (pick(6)) {
      case 0:
        return pick(heap_.largest_block() + 1);
      case 1:
        return class_bytes(static_cast<unsigned>(pick(kClassCount))) + pick(3) - 1;
      case 2:
        return 100 + pick(20);
      default:
        return pick(600);
    }
  }

  void operate() {
    const std::size_t action = pick(100);
    growing_ = pick(3000) == 0 ? !growing_ : growing_;
    if (action < (growing_ ? 60u : 35u)) {
      const std::size_t bytes = some_size();
      const Offset block = heap_.allocate(cache(), bytes);
      if (bytes > heap_.largest_block()) {
        ASSERT_EQ(block, 0u);
      } else if (block != 0) {
        const std::size_t room = heap_.block_bytes(block);
        ASSERT_GE(room, bytes);
        add(block, room, Kind::kBlock);
      }
    } else if (action < 90) {
      if (!live_.empty()) {
        auto it = live_.lower_bound(live_.begin()->first +
                                    pick(live_.rbegin()->first - live_.begin()->first + 1));
        drop(it);
      }
    } else if (action < 93) {
      if (const Offset block = heap_.allocate_reserve(cache()))
        add(block, kReserveBlockBytes, Kind::kReserve);
    } else if (action < 97) {
      const std::size_t bytes = 1 + pick(pick(4) == 0 ? 2 << 20 : 200'000);
      if (const Offset extent = heap_.allocate_extent(bytes)) add(extent, bytes, Kind::kExtent);
    } else if (action < 98) {
      const std::size_t at = pick(kTableBytes / kChunk) * kChunk;
      const Offset offset = (at + static_cast<std::size_t>(heap_.table() - heap_.base())) / 8;
      if (live_.count(offset + 1) == 0 && heap_.commit_table(at, kChunk)) {
        for (std::size_t i = 0; i < kChunk; ++i) ASSERT_EQ(heap_.table()[at + i], std::byte{0});
        // Keyed one unit further: the first chunk lies at offset 0, which no block has.
        add(offset + 1, kChunk - 8, Kind::kTable);
      }
    } else if (action < 99) {
      heap_.release_cache(cache());
    } else {
      const std::size_t budget = heap_.budget_bytes(), used = heap_.used_bytes();
      const std::size_t wanted = (4 << 20) + pick(8 << 20);
      if (heap_.resize(wanted)) {
        ASSERT_EQ(heap_.budget_bytes(), wanted / 4096 * 4096);
      } else {
        ASSERT_EQ(heap_.budget_bytes(), budget);
        ASSERT_LE(heap_.used_bytes(), used);
      }
    }
    ASSERT_LE(heap_.used_bytes(), heap_.budget_bytes());
  }

  void add(Offset offset, std::size_t bytes, Kind kind) {
    const auto next = live_.lower_bound(offset);
    if (next != live_.end()) {
      ASSERT_LE(offset * 8 + bytes, next->first * 8) << "overlaps the next";
    }
    if (next != live_.begin()) {
      const auto before = std::prev(next);
      ASSERT_LE(before->first * 8 + before->second.bytes, offset * 8) << "overlaps the one before";
    }
    const std::uint64_t content = random_();
    live_.emplace(offset, Live{bytes, content, kind});
    for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
      const std::uint64_t word = content + i;
      std::memcpy(heap_.at(offset) + i, &word, 8);
    }
  }

  void drop(std::map<Offset, Live>::iterator it) {
    const auto [bytes, content, kind] = it->second;
    const Offset offset = it->first;
    for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, heap_.at(offset) + i, 8);
      ASSERT_EQ(word, content + i) << "overwritten at " << offset * 8 + i;
    }
    if (kind == Kind::kTable) {
      if (!closing_) return;
    } else if (kind == Kind::kExtent) {
      heap_.free_extent(offset, bytes);
    } else {
      heap_.free(cache(), offset);
    }
    live_.erase(it);
  }

  void check_accounts() {
    ASSERT_TRUE(heap_.verify());
    std::size_t held = 0, live_bytes = 0, extent_bytes = 0, table_bytes = 0, taken = 0;
    for (const auto& cache : caches_) held += cache->held_bytes();
    for (const auto& [offset, one] : live_) {
      if (one.kind == Kind::kExtent) {
        extent_bytes +=
            (one.bytes + Heap::kGranuleBytes - 1) / Heap::kGranuleBytes * Heap::kGranuleBytes;
      } else if (one.kind == Kind::kTable) {
        table_bytes += kChunk;
      } else {
        live_bytes += one.bytes;
      }
    }
    heap_.for_each_block(
        [&](Offset, std::size_t bytes, bool is_free) { taken += is_free ? 0 : bytes; });
    ASSERT_EQ(taken, live_bytes + held);
    const Stats stats = heap_.stats();
    ASSERT_EQ(stats.extent_bytes, extent_bytes);
    if (!closing_) {
      ASSERT_EQ(stats.table_bytes, table_bytes);
    }
    ASSERT_EQ(stats.used_bytes,
              stats.table_bytes + stats.span_bytes + stats.extent_bytes + stats.overhead_bytes);
  }

  std::mt19937_64 random_;
  std::unique_ptr<std::byte[]> region_;
  Heap heap_;
  std::vector<std::unique_ptr<Heap::Cache>> caches_;
  std::map<Offset, Live> live_;
  bool opened_ = false;
  bool growing_ = true;
  bool closing_ = false;
};

void run_seed(std::uint64_t seed, std::size_t memory_bytes, bool in_region, int operations) {
  SCOPED_TRACE("TERN_SEED=" + std::to_string(seed));
  Model model(seed, memory_bytes, in_region);
  model.run(operations);
}

void run_seeds(std::uint64_t from, std::uint64_t to, std::size_t memory_bytes, bool in_region,
               int operations) {
  if (const char* only = std::getenv("TERN_SEED")) {
    run_seed(std::strtoull(only, nullptr, 10), memory_bytes, in_region, operations);
    return;
  }
  for (std::uint64_t seed = from; seed < to && !testing::Test::HasFailure(); ++seed) {
    run_seed(seed, memory_bytes, in_region, operations);
  }
}

// Ten times slower under a sanitizer: a third of the seeds there.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kShare = 3;
#else
constexpr std::uint64_t kShare = 1;
#endif

TEST(HeapModel, SmallHeap) { run_seeds(1, 1 + 24 / kShare, 4 << 20, false, 20'000); }
TEST(HeapModel, SmallHeapInARegion) { run_seeds(100, 100 + 9 / kShare, 5 << 20, true, 20'000); }
TEST(HeapModel, LargeHeap) { run_seeds(200, 200 + 3 / kShare, 256 << 20, false, 20'000); }

}  // namespace
}  // namespace tern::alloc
