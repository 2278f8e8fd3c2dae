// Namespaces from several threads at once: made by all of them at the same time, written, cleared and evicted from side by
// side. What a thread writes into its own namespace nobody else removes; figures are exact when all have finished.
#include <tern/namespace.h>

#include <array>
#include <atomic>
#include <barrier>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

constexpr unsigned kThreads = 4;

template <class Fn>
void in_threads(Fn&& fn) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i != kThreads; ++i) threads.emplace_back([&fn, i] { fn(i); });
  for (std::thread& t : threads) t.join();
}

TEST(NamespaceThreadsTest, ThreadsThatMakeTheSameOnesAtOnceGetTheSame) {
  const unsigned rounds = quick_or_long(60u, 1'000u);
  const Store store = open_or_fail(small_options());
  std::barrier together(kThreads);
  std::atomic<unsigned> conflicts{0};
  in_threads([&](unsigned i) {
    for (unsigned n = 0; n != rounds; ++n) {
      together.arrive_and_wait();
      // Two of the four want another separator: they are refused, or the others are.
      const Result<Namespace> r = store.ns(numbered("n", n), {.separator = i % 2 == 0 ? '.' : '/'});
      if (!r) {
        EXPECT_EQ(r.error(), (Error{Status::kInvalidArgument, Field::kSeparator}));
        ++conflicts;
        continue;
      }
      EXPECT_EQ(r->options().separator, i % 2 == 0 ? '.' : '/');
      ASSERT_TRUE(r->set(numbered("by", i), numbered("round", n)));
    }
  });
  EXPECT_EQ(conflicts.load(), 2 * rounds);
  for (unsigned n = 0; n != rounds; ++n) {
    const Result<Namespace> r = store.ns(numbered("n", n));
    ASSERT_TRUE(r);
    EXPECT_EQ(r->size(), 2u);
    unsigned seen = 0;
    EXPECT_TRUE(r->iterate("", [&](std::string_view, std::string_view value) { return seen += value == numbered("round", n); }));
    EXPECT_EQ(seen, 2u);
  }
  const Stats s = store.stats();
  EXPECT_EQ(s.namespaces, rounds);
  EXPECT_EQ(s.entries, s.namespace_entries);
  EXPECT_TRUE(whole(store));
}

TEST(NamespaceThreadsTest, EachReadsWhatItWroteWhileOthersWriteAndClearTheSameKeys) {
  const unsigned rounds = quick_or_long(6'000u, 200'000u);
  Options o = small_options();
  o.eviction = false;
  o.maintenance = Maintenance::kBackground;
  o.ordered = true;
  const Store store = open_or_fail(o);
  std::atomic<unsigned> clears{0};
  std::array<unsigned, kThreads> left{};
  in_threads([&](unsigned i) {
    const Result<Namespace> r = store.ns(numbered("of", i));
    ASSERT_TRUE(r);
    const Namespace& mine = *r;
    std::array<std::string, 64> model;  // empty: absent
    std::mt19937 random(i + 1);
    for (unsigned n = 0; n != rounds; ++n) {
      const unsigned k = random() % 64;
      const std::string key = numbered("k", k);
      switch (random() % 8) {
        case 0:
          ASSERT_EQ(*mine.del(key), !model[k].empty());
          model[k].clear();
          break;
        case 1:
          if (random() % 64 != 0) break;
          ASSERT_TRUE(mine.clear());
          ++clears;
          for (std::string& v : model) v.clear();
          break;
        case 2: {
          WriteBatch batch;
          batch.set(key, model[k] = numbered("b", n));
          const unsigned other = (k + 1) % 64;
          batch.set(numbered("k", other), model[other] = numbered("c", n));
          ASSERT_TRUE(mine.write(batch));
          break;
        }
        case 3: {
          if (random() % 16 != 0) break;
          unsigned seen = 0, there = 0;
          ASSERT_TRUE(mine.iterate("", [&](std::string_view, std::string_view) { return ++seen != 0; }));
          for (const std::string& v : model) there += !v.empty();
          ASSERT_EQ(seen, there);
          break;
        }
        case 4:
        case 5:
          ASSERT_TRUE(mine.set(key, model[k] = numbered("v", n)));
          break;
        default: {
          const auto value = value_of(mine, key);
          ASSERT_EQ(value.value_or(""), model[k]);
        }
      }
    }
    for (unsigned k = 0; k != 64; ++k) {
      ASSERT_EQ(value_of(mine, numbered("k", k)).value_or(""), model[k]);
      left[i] += !model[k].empty();
    }
  });
  EXPECT_GT(clears.load(), 0u);
  for (int n = 0; n != 100'000 && store.stats().owed.invalidations != 0; ++n) ASSERT_TRUE(store.tick(milliseconds(1)));
  for (unsigned i = 0; i != kThreads; ++i) EXPECT_EQ(store.ns(numbered("of", i))->size(), left[i]);
  EXPECT_TRUE(whole(store));  // the figures of each namespace among all
}

TEST(NamespaceThreadsTest, SharesHoldAndFiguresAreExactWhereThreadsEvictSideBySide) {
  const unsigned rounds = quick_or_long(20'000u, 400'000u);
  Options o = small_options();
  o.memory_bytes = 8 * kMiB;
  const Store store = open_or_fail(o);
  constexpr std::array<unsigned, kThreads> kShares = {10, 30, 60, 0};
  const std::string value = pattern(300);
  in_threads([&](unsigned i) {
    const Result<Namespace> mine = store.ns(numbered("of", i), {.share_percent = kShares[i]});
    ASSERT_TRUE(mine);
    for (unsigned n = 0; n != rounds; ++n) {
      const auto r = mine->set(numbered("key:", n), value);
      // More threads than processors: the bound on what one write may do can be reached.
      if (!r) {
        ASSERT_EQ(r.status(), Status::kOutOfMemory);
      }
    }
  });
  EXPECT_GT(store.stats().evicted, rounds);
  std::uint64_t entries = 0;
  for (unsigned i = 0; i != kThreads; ++i) entries += store.ns(numbered("of", i))->size();
  EXPECT_EQ(store.stats().namespace_entries, entries + 2 * kThreads + 1);
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
