// Scans of a store without the ordered index that may use several threads: what they show is what one thread shows.
#include <tern/store.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

using Names = std::vector<std::string>;

// A walk of fewer buckets is left to the caller's thread.
constexpr std::size_t kKeys = 30'000;

std::string key_of(std::size_t n) { return numbered("k", static_cast<unsigned>(n % 37)) + numbered(":", static_cast<unsigned>(n)); }

class SharedScan : public testing::Test {
 protected:
  void SetUp() override {
    Options o;
    o.memory_bytes = 32 * kMiB;
    o.shard_count = 8;
    o.entries_expected = kKeys;
    o.eviction = false;
    o.maintenance = Maintenance::kTick;
    o.scan_threads = 4;
    Result<Store> opened = Store::open(o);
    if (opened.status() == Status::kUnsupported) GTEST_SKIP() << "built without oneTBB";
    ASSERT_TRUE(opened);
    store = std::move(*opened);
    for (std::size_t n = 0; n != kKeys; ++n) {
      ASSERT_TRUE(store.set(key_of(n), "=" + key_of(n)));
      model.insert(key_of(n));
    }
  }
  void TearDown() override {
    if (store.is_open()) {
      EXPECT_TRUE(whole(store));
    }
  }
  template <class From>
  Names scanned(const From& from, const ScanOptions& options) {
    Names names;
    const std::thread::id caller = std::this_thread::get_id();
    const Result<bool> r = from.scan(options, [&](std::string_view key, std::string_view value) {
      EXPECT_EQ(std::this_thread::get_id(), caller);
      EXPECT_EQ(value, "=" + std::string(key));
      names.emplace_back(key);
      return true;
    });
    EXPECT_TRUE(r) << testing::PrintToString(r.error());
    return names;
  }

  Store store;
  std::set<std::string> model;
};

TEST(ScanThreadsOption, ItsRangeIsChecked) {
  Options o;
  for (const unsigned n : {0u, 65u}) {
    o.scan_threads = n;
    const Result<Store> r = Store::open(o);
    EXPECT_EQ(r.error(), (Error{Status::kOutOfRange, Field::kScanThreads}));
  }
  o.scan_threads = 2;
  const Result<Store> r = Store::open(o);
  if (!r) {
    EXPECT_EQ(r.error(), (Error{Status::kUnsupported, Field::kScanThreads}));
  }
}

TEST_F(SharedScan, ShowsEveryKeyInOrder) {
  EXPECT_EQ(scanned(store, {}), Names(model.begin(), model.end()));
  EXPECT_EQ(scanned(store, {.reverse = true}), Names(model.rbegin(), model.rend()));
}

TEST_F(SharedScan, BoundsLimitsAndPatterns) {
  const std::string prefix = numbered("k", 7) + ":";
  const Names all(model.begin(), model.end());
  const auto first = std::lower_bound(all.begin(), all.end(), prefix);
  const auto last = std::find_if(first, all.end(), [&](const std::string& key) { return !key.starts_with(prefix); });
  ASSERT_NE(first, last);
  EXPECT_EQ(scanned(store, {.prefix = prefix}), Names(first, last));
  // Each thread forgets all but so many on the way.
  EXPECT_EQ(scanned(store, {.limit = 3'000}), Names(all.begin(), all.begin() + 3'000));
  EXPECT_EQ(scanned(store, {.limit = 3'000, .reverse = true}), Names(all.rbegin(), all.rbegin() + 3'000));
  const Result<Keys> found = store.keys("*7:*5", {.separator = '.'});
  ASSERT_TRUE(found);
  Names matching;
  for (const std::string& key : all) {
    if (key[key.find(':') - 1] == '7' && key.ends_with('5')) matching.push_back(key);
  }
  EXPECT_EQ(Names(found->begin(), found->end()), matching);
}

TEST_F(SharedScan, AViewIsShownAsItStoodWhateverIsWritten) {
  std::atomic<bool> stop{false};
  std::jthread writer([&] {
    std::minstd_rand random(1);
    while (!stop.load(std::memory_order_relaxed)) {
      const std::string key = key_of(random() % (kKeys + kKeys / 2));
      if (random() % 3 == 0) {
        (void)store.del(key);
      } else {
        (void)store.set(key, "=" + key);
      }
      if (random() % 16 == 0) std::this_thread::yield();
    }
  });
  unsigned whole_views = 0;
  for (unsigned round = 0; round != 20; ++round) {
    const Result<View> view = store.view();
    ASSERT_TRUE(view);
    Names walked, shown;
    const Result<bool> first = view->for_each([&](std::string_view key, std::string_view) { return walked.emplace_back(key), true; });
    const Result<bool> second = view->scan({}, [&](std::string_view key) { return shown.emplace_back(key), true; });
    if (first.status() == Status::kViewExpired || second.status() == Status::kViewExpired) continue;
    ASSERT_TRUE(first && second);
    std::sort(walked.begin(), walked.end());
    ASSERT_EQ(shown, walked);
    ++whole_views;
  }
  stop = true;
  writer.join();
  EXPECT_GT(whole_views, 0u);
}

TEST_F(SharedScan, ACallbackMayScanTheStore) {
  unsigned outer = 0;
  const Result<bool> r = store.scan({.limit = 3}, [&](std::string_view) {
    ++outer;
    return store.keys({.limit = 10})->size() == 10;
  });
  ASSERT_TRUE(r);
  EXPECT_EQ(outer, 3u);
}

TEST_F(SharedScan, SeveralCallersAtOnce) {
  const Names all(model.begin(), model.end());
  std::vector<std::jthread> callers;
  std::atomic<unsigned> right{0};
  for (unsigned c = 0; c != 3; ++c) {
    callers.emplace_back([&] {
      const Result<Keys> keys = store.keys();
      right += keys && std::equal(all.begin(), all.end(), keys->begin(), keys->end());
    });
  }
  callers.clear();
  EXPECT_EQ(right, 3u);
}

TEST_F(SharedScan, OfAClosedStoreItSaysSo) {
  const Result<View> view = store.view();
  ASSERT_TRUE(view);
  store.close();
  EXPECT_EQ(view->keys().status(), Status::kClosed);
}

}  // namespace
}  // namespace tern::test
