// R3: views under writes. A writer goes round after round over its keys, always in the same order, and writes the round's
// number into each. So at any moment its keys show one round up to where it is and the one before behind that: whatever a
// view shows, twice, must be such a moment, and no older than the call that opened it; whatever is moved, removed and put
// back, evicted beside it, and grows meanwhile.
#include <tern/store.h>

#include <array>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

constexpr unsigned kPairs = 32;

struct Pair {
  std::string from, to;
};

std::int64_t number(std::string_view text) {
  std::int64_t n = -1'000'000;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

class Accounts {
 public:
  Accounts(const Store& store, unsigned writers) : store_(store) {
    for (unsigned w = 0; w != writers; ++w) {
      for (unsigned i = 0; i != kPairs; ++i) {
        pairs_.push_back({"from" + std::to_string(w) + "." + std::to_string(i), "to" + std::to_string(w) + "." + std::to_string(i)});
        EXPECT_TRUE(store.set(pairs_.back().from, "0", {.evictable = false}));
        EXPECT_TRUE(store.set(pairs_.back().to, "0", {.evictable = false}));
      }
    }
  }
  // Every `from`, then every `to`; some by removal and another insertion.
  void write(unsigned w, const std::atomic<bool>& stop) {
    std::mt19937 random(w + 1);
    for (std::int64_t round = 1; !stop.load(); ++round) {
      for (unsigned i = 0; i != kPairs; ++i) put(pairs_[w * kPairs + i].from, round, random);
      for (unsigned i = 0; i != kPairs; ++i) put(pairs_[w * kPairs + i].to, round, random);
      done_[w].store(round);
    }
  }
  // What a view may show: along the order in which its writer goes, a round that falls by one at most once; a key that is
  // missing stands between two rounds. The same at the second look.
  ::testing::AssertionResult check(const View& view, unsigned writers, const std::array<std::int64_t, 4>& before, bool& ended) {
    std::vector<std::int64_t> first;
    for (int pass = 0; pass != 2; ++pass) {
      std::vector<std::int64_t> seen;
      for (const Pair& p : pairs_) {
        for (const std::string* key : {&p.from, &p.to}) {
          const Lookup<Value> r = view.get(*key);
          if (r.status() == Status::kViewExpired) {
            ended = true;
            return ::testing::AssertionSuccess();
          }
          if (r.failed()) return ::testing::AssertionFailure() << status_name(r.status());
          seen.push_back(r ? number(r->view()) : -1);
        }
      }
      if (pass == 0) first = seen;
      if (seen != first) return ::testing::AssertionFailure() << "a view changed under its reader";
    }
    for (unsigned w = 0; w != writers; ++w) {
      std::int64_t last = -1, highest = -1, lowest = 1'000'000'000;
      unsigned missing = 0;
      for (unsigned part = 0; part != 2; ++part) {
        for (unsigned i = 0; i != kPairs; ++i) {
          const std::int64_t n = first[2 * (w * kPairs + i) + part];
          if (n == -1) {
            ++missing;
            continue;
          }
          if (last != -1 && n > last) return ::testing::AssertionFailure() << "a later write without an earlier: " << last << ", " << n;
          last = n;
          highest = std::max(highest, n);
          lowest = std::min(lowest, n);
        }
      }
      if (highest - lowest > 1 || missing > 1) {
        return ::testing::AssertionFailure() << "rounds " << lowest << " to " << highest << ", " << missing << " missing";
      }
      if (lowest < before[w]) return ::testing::AssertionFailure() << "a view older than its call";
      if (highest > lowest || missing != 0) ++between_;
    }
    return ::testing::AssertionSuccess();
  }
  std::array<std::int64_t, 4> done() const {
    std::array<std::int64_t, 4> all{};
    for (unsigned i = 0; i != 4; ++i) all[i] = done_[i].load();
    return all;
  }
  std::uint64_t between() const { return between_; }

 private:
  void put(const std::string& key, std::int64_t round, std::mt19937& random) {
    const SetOptions o{.evictable = false};
    const std::string value = std::to_string(round) + std::string(random() % 40, ' ');
    if (random() % 8 == 0) {
      EXPECT_TRUE(store_.del(key));
    }
    Result<std::uint64_t> r = store_.set(key, value, o);
    for (int i = 0; i != 1'000 && r.status() == Status::kOutOfMemory; ++i) r = store_.set(key, value, o);
    EXPECT_TRUE(r) << status_name(r.status());
  }

  const Store& store_;
  std::vector<Pair> pairs_;
  std::array<std::atomic<std::int64_t>, 4> done_{};
  std::uint64_t between_ = 0;
};

enum class Beside : std::uint8_t { kNothing, kMortals, kFull };

void run(const Options& options, unsigned writers, std::uint64_t views, Beside beside) {
  const Store store = open_or_fail(options);
  Accounts accounts(store, writers);
  for (unsigned i = 0; beside == Beside::kFull && i != 60'000; ++i) ASSERT_TRUE(store.set(numbered("old", i), pattern(200)));
  const std::uint64_t buckets = store.stats().buckets;
  std::atomic<bool> stop{false};
  std::vector<std::jthread> threads;
  for (unsigned w = 0; w != writers; ++w) threads.emplace_back([&, w] { accounts.write(w, stop); });
  threads.emplace_back([&] {
    std::mt19937 random(99);
    for (unsigned n = 0; !stop.load(); ++n) {
      SetOptions o;
      if (beside == Beside::kMortals) o.ttl = milliseconds(1 + random() % 50);
      if (beside != Beside::kNothing) (void)store.set(numbered("filler", n), pattern(random() % 300), o);
      if (n % 64 == 0) (void)store.tick(200us);
      if (n % 97 == 0) (void)store.cleanup_expired();
    }
  });
  std::uint64_t ended = 0, checked = 0;
  {
    // One is held all the time, and read at the end.
    Result<View> held = store.view();
    ASSERT_TRUE(held);
    for (std::uint64_t n = 0; n != views; ++n) {
      const auto before = accounts.done();
      Result<View> view = store.view();
      ASSERT_TRUE(view);
      bool over = false;
      const auto right = accounts.check(*view, writers, before, over);
      EXPECT_TRUE(right) << "view " << n;
      over ? ++ended : ++checked;
      if (n % 50 == 0) {
        const Result<std::uint64_t> size = view->size();
        const Result<std::uint64_t> again = view->size();
        if (size && again) {
          EXPECT_EQ(*size, *again);
        }
      }
      if (::testing::Test::HasFailure()) break;
    }
    if (held->is_open()) {
      bool over = false;
      EXPECT_TRUE(accounts.check(*held, writers, {}, over));
    }
  }
  stop = true;
  threads.clear();
  for (int i = 0; i != 10'000 && store.stats().kept_versions != 0; ++i) ASSERT_TRUE(store.tick(1ms));
  EXPECT_EQ(store.stats().kept_versions, 0u);
  ASSERT_TRUE(whole(store));
  std::printf("%llu views read twice, %llu ended by pressure, %llu writers met in the middle of a round; %llu -> %llu buckets, %llu evicted\n",
              static_cast<unsigned long long>(checked), static_cast<unsigned long long>(ended),
              static_cast<unsigned long long>(accounts.between()), static_cast<unsigned long long>(buckets),
              static_cast<unsigned long long>(store.stats().buckets), static_cast<unsigned long long>(store.stats().evicted));
  EXPECT_GT(checked, views / 2);
  EXPECT_GT(accounts.between(), 0u) << "no view stood in the middle of anything";
}

const std::uint64_t kViews = quick_or_long<std::uint64_t>(kSanitized ? 300 : 1'000, 200'000);

TEST(ViewThreadsTest, ShowOneMomentUnderWrites) {
  Options options = small_options();
  options.memory_bytes = 64 * kMiB;
  run(options, 3, kViews, Beside::kNothing);
}

TEST(ViewThreadsTest, ShowOneMomentWhileTheStoreGrowsAndEntriesExpire) {
  Options options = small_options();
  options.memory_bytes = 128 * kMiB;
  options.shard_count = 1;
  run(options, 2, kViews, Beside::kMortals);
}

TEST(ViewThreadsTest, ShowOneMomentInAFullStore) {
  Options options = small_options();
  options.memory_bytes = 8 * kMiB;
  run(options, 2, kViews, Beside::kFull);
}

// One view, its readers on several threads.
TEST(ViewThreadsTest, OneViewServesManyThreads) {
  const Store store = open_or_fail(small_options());
  for (int i = 0; i != 5'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "old"));
  Result<View> view = store.view();
  ASSERT_TRUE(view);
  std::atomic<bool> stop{false};
  std::jthread writer([&] {
    for (int i = 0; !stop.load(); ++i) {
      (void)store.set(numbered("k", i % 5'000), "new");
      if (i % 3 == 0) (void)store.del(numbered("k", (i * 7) % 5'000));
    }
  });
  std::vector<std::jthread> readers;
  for (int r = 0; r != 3; ++r) {
    readers.emplace_back([&] {
      for (int pass = 0; pass != 3; ++pass) {
        std::uint64_t seen = 0;
        const Result<bool> all = view->for_each([&](std::string_view, std::string_view value) {
          EXPECT_EQ(value, "old");
          ++seen;
          return true;
        });
        EXPECT_TRUE(all);
        EXPECT_EQ(seen, 5'000u);
      }
    });
  }
  readers.clear();
  stop = true;
}

}  // namespace
}  // namespace tern::test
