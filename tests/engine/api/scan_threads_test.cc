// Scans in order while others write, remove, evict, expire, grow and run batches: exactly the view's keys, in order.
#include <tern/store.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

constexpr unsigned kWriters = 3;

std::string key_of(unsigned n) { return numbered("k", n % 7) + numbered(":", n); }

// Writes that others may do: so many for each 256 keys that a reader has seen, on a machine of any speed.
struct Allowance {
  std::atomic<std::uint64_t> left{0};
  std::atomic<bool> stop{false};

  bool take() {
    for (std::uint64_t n = left.load(std::memory_order_relaxed); !stop.load(std::memory_order_relaxed);) {
      if (n == 0) {
        std::this_thread::yield();
        n = left.load(std::memory_order_relaxed);
      } else if (left.compare_exchange_weak(n, n - 1, std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }
};

void write(const Store& store, unsigned seed, unsigned key_count, Allowance& allowance) {
  std::minstd_rand random(seed);
  WriteBatch batch;
  for (unsigned i = 0; allowance.take(); ++i) {
    const std::string key = key_of(static_cast<unsigned>(random()) % key_count);
    switch (random() % 8) {
      case 0: case 1: case 2:
        (void)store.set(key, pattern(random() % 120, i));
        break;
      case 3: case 4:
        (void)store.del(key);
        break;
      case 5:
        (void)store.set(key, "mortal", {.ttl = milliseconds(1 + random() % 20)});
        break;
      case 6:
        batch.clear();
        batch.set(key, "batch");
        batch.del(key_of(static_cast<unsigned>(random()) % key_count));
        batch.set(key_of(static_cast<unsigned>(random()) % key_count), "batch");
        (void)store.write(batch);
        break;
      default:
        if (random() % 64 == 0) (void)store.del_pattern(numbered("k", random() % 7) + ":" + std::to_string(random() % 10) + "*");
        break;
    }
    if (i % 256 == 0) (void)store.tick(100us);
  }
}

void scan_beside_writers(Options o, unsigned key_count, unsigned pace, unsigned rounds) {
  o.ordered = true;
  const Store store = open_or_fail(o);
  for (unsigned n = 0; n != key_count; ++n) (void)store.set(key_of(n), pattern(60, n));
  Allowance allowance;
  std::vector<std::jthread> writers;
  for (unsigned w = 0; w != kWriters; ++w) writers.emplace_back([&, w] { write(store, w + 1, key_count, allowance); });
  unsigned whole_views = 0;
  std::uint64_t shown = 0;
  for (unsigned round = 0; round != rounds; ++round) {
    Result<View> view = store.view();
    ASSERT_TRUE(view);
    std::vector<std::pair<std::string, std::string>> walked, scanned;
    const auto collect = [&](auto& to) {
      return [&to, &allowance, pace](std::string_view key, std::string_view value) {
        if (to.size() % 256 == 0) allowance.left.fetch_add(pace, std::memory_order_relaxed);
        to.emplace_back(key, value);
        return true;
      };
    };
    const Result<bool> first = view->for_each(collect(walked));
    const Result<bool> second = view->scan({.reverse = round % 2 != 0}, collect(scanned));
    if (!first || !second) {
      ASSERT_TRUE((!first ? first : second).status() == Status::kViewExpired);
      continue;
    }
    ++whole_views;
    shown += scanned.size();
    std::sort(walked.begin(), walked.end());
    if (round % 2 != 0) std::reverse(walked.begin(), walked.end());
    ASSERT_EQ(scanned, walked);
    // In pages, from the store's own views: in order, none twice.
    ScanCursor cursor;
    std::string last;
    for (unsigned page = 0; page != 8 && !cursor.at_end(); ++page) {
      const Result<bool> r = store.scan({.prefix = "k3", .limit = 20}, cursor, [&](std::string_view key) {
        EXPECT_LT(last, key);
        EXPECT_TRUE(key.starts_with("k3"));
        last = key;
        return true;
      });
      if (r.status() == Status::kViewExpired) continue;
      ASSERT_TRUE(r);
    }
  }
  allowance.stop = true;
  writers.clear();
  EXPECT_GT(whole_views, 0u);
  EXPECT_GT(shown, 0u);
  EXPECT_EQ(store.stats().evicted != 0, o.eviction);
  EXPECT_TRUE(whole(store));
}

TEST(ScanThreads, ViewsBesideWritersBatchesAndGrowth) {
  Options o;
  o.memory_bytes = 16 * kMiB;
  o.shard_count = 2;
  o.eviction = false;
  scan_beside_writers(o, 2'000, 256, quick_or_long(40u, 5'000u));
}

// Full by its number of entries: with memory to spare no view is ended.
TEST(ScanThreads, ViewsOfAFullStore) {
  Options o;
  o.memory_bytes = 32 * kMiB;
  o.entries_max = 10'000;
  scan_beside_writers(o, 30'000, 64, quick_or_long(10u, 1'000u));
}

}  // namespace
}  // namespace tern::test
