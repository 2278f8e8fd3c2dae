// What a full store does: who goes, who stays, what is told, and what it costs the write that needs the room.
#include <tern/store.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <latch>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

Options bounded(std::size_t memory_bytes, const Clock* clock = nullptr) {
  Options options = small_options(clock);
  options.memory_bytes = memory_bytes;
  return options;
}

TEST(EvictionTest, AFullStoreTakesEveryWrite) {
  for (const std::size_t size : {16u, 100u, 1'000u, 7'000u}) {
    const std::size_t bytes = kSanitized ? 4 * kMiB : 8 * kMiB;
    const Store store = open_or_fail(bounded(bytes));
    const unsigned count = static_cast<unsigned>(5 * bytes / (size + 60));
    for (unsigned i = 0; i < count; ++i) {
      const Result<std::uint64_t> r = store.set(numbered("k", i), pattern(size, i));
      ASSERT_TRUE(r) << status_name(r.status()) << " at " << i << " of size " << size;
      const Lookup<Value> back = store.get(numbered("k", i));
      ASSERT_TRUE(back) << "the newest is there";
      ASSERT_TRUE(back->view() == pattern(size, i));
    }
    const Stats s = store.stats();
    EXPECT_EQ(s.refused, 0u);
    EXPECT_EQ(s.inserts, count);
    EXPECT_EQ(s.entries + s.evicted, count);
    EXPECT_GT(s.entries * (size + 40), bytes * 65 / 100) << s.entries << " of size " << size;
    unsigned found = 0;
    for (unsigned i = 0; i < count; ++i) {
      const std::optional<std::string> v = value_of(store, numbered("k", i));
      if (!v) continue;
      ++found;
      ASSERT_TRUE(*v == pattern(size, i)) << i;
    }
    EXPECT_EQ(found, s.entries);
    EXPECT_TRUE(whole(store));
  }
}

TEST(EvictionTest, OffMeansRefused) {
  Options options = bounded(4 * kMiB);
  options.eviction = false;
  const Store store = open_or_fail(options);
  Status last = Status::kOk;
  unsigned count = 0;
  for (; last == Status::kOk; ++count) last = store.set(numbered("k", count), pattern(500, count)).status();
  EXPECT_EQ(last, Status::kOutOfMemory);
  EXPECT_EQ(store.stats().evicted, 0u);
  EXPECT_EQ(store.stats().entries, count - 1);
}

TEST(EvictionTest, EntriesMaxIsNeverPassed) {
  for (const std::size_t max : {1u, 2u, 50u, 1'000u, 20'000u}) {
    Options options = bounded(16 * kMiB);
    options.entries_max = max;
    const Store store = open_or_fail(options);
    for (unsigned i = 0; i < max * 5; ++i) {
      const Result<std::uint64_t> r = store.set(numbered("k", i), "v");
      ASSERT_TRUE(r) << status_name(r.status()) << " at " << i << " of " << max;
      if (i % 97 == 0) {
        ASSERT_LE(store.stats().entries, max);
      }
    }
    const Stats s = store.stats();
    EXPECT_EQ(s.entries, max);
    EXPECT_EQ(s.evicted, max * 4);
    EXPECT_EQ(s.refused, 0u);
    EXPECT_TRUE(whole(store));
  }
}

TEST(EvictionTest, AKeyThatComesBackIsCounted) {
  Options options = bounded(8 * kMiB);
  options.entries_max = 1'000;
  const Store store = open_or_fail(options);
  for (unsigned i = 0; i < 2'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v"));
  EXPECT_EQ(store.stats().evicted, 1'000u);
  EXPECT_LE(store.stats().ghost_hits, 2u) << "a fingerprint in 16,000 is another's";
  unsigned back = 0;
  for (unsigned i = 0; i < 2'000 && back < 200; ++i) {
    if (*store.exists(numbered("k", i))) continue;
    ASSERT_TRUE(store.set(numbered("k", i), "v"));
    ++back;
  }
  EXPECT_EQ(back, 200u);
  EXPECT_GE(store.stats().ghost_hits, 30u) << "the longest gone: of as many as the cache holds a third and more are remembered";
  EXPECT_LE(store.stats().ghost_hits, 202u);
}

TEST(EvictionTest, EntriesMaxIsPassedByOneAThreadAtMost) {
  Options options = bounded(16 * kMiB);
  options.entries_max = 500;
  const Store store = open_or_fail(options);
  constexpr unsigned kThreads = 4;
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> refused{0};
  std::uint64_t most = 0;
  std::uint64_t counts = 0;
  {
    std::vector<std::jthread> writers;
    for (unsigned t = 0; t < kThreads; ++t) {
      writers.emplace_back([&, t] {
        for (unsigned i = 0; i < 20'000; ++i) {
          refused += !store.set(numbered("t", t * 1'000'000 + i), "v").ok();
          if (i % 3 == 0) (void)store.del(numbered("t", t * 1'000'000 + i / 2));
        }
      });
    }
    // Counted at one moment: stats() adds up shard by shard, so entries that move on meanwhile count twice.
    std::jthread watcher([&] {
      while (!done) {
        const Result<View> view = store.view();
        const Result<std::uint64_t> now = view ? view->size() : Result<std::uint64_t>(view.status());
        if (now) most = std::max(most, *now);
        counts += now.ok();
      }
    });
    writers.clear();
    done = true;
  }
  EXPECT_GT(counts, 10u);
  EXPECT_GE(most, 400u);
  EXPECT_LE(most, 500u + kThreads);
  EXPECT_LE(store.stats().entries, 500u);
  EXPECT_EQ(refused, 0u);
  EXPECT_TRUE(whole(store));
}

TEST(EvictionTest, WhatIsReadStaysWhileAScanPasses) {
  Options options = bounded(16 * kMiB);
  options.entries_max = 1'000;
  const Store store = open_or_fail(options);
  for (unsigned i = 0; i < 200; ++i) ASSERT_TRUE(store.set(numbered("hot", i), "v"));
  unsigned misses = 0;
  for (unsigned i = 0; i < 50'000; ++i) {
    ASSERT_TRUE(store.set(numbered("scan", i), "v"));
    const std::string hot = numbered("hot", i % 200);
    if (store.get(hot).missing()) {
      ++misses;
      ASSERT_TRUE(store.set(hot, "v"));
    }
  }
  EXPECT_LT(misses, 50u);
}

// Keys of two sizes, all asked for equally often: how many of 60,000 gets are hits.
unsigned hits_of_two_sizes(bool size_aware, unsigned large) {
  Options options = bounded(8 * kMiB);
  options.hash_seed = 1;
  options.maintenance = Maintenance::kTick;
  options.size_aware = size_aware;
  const Store store = open_or_fail(options);
  std::mt19937_64 random(1);
  unsigned hits = 0;
  for (unsigned i = 0; i < 60'000; ++i) {
    const unsigned n = static_cast<unsigned>(random() % 10'000);
    const std::string key = numbered("k", n);
    if (!store.get(key).missing()) {
      ++hits;
    } else {
      EXPECT_TRUE(store.set(key, std::string(n % 2 == 0 ? 100 : large, 'v')));
    }
  }
  EXPECT_TRUE(whole(store));
  return hits;
}

TEST(EvictionTest, WhatIsSmallStaysLongerWhereSizeCounts) {
  EXPECT_GT(hits_of_two_sizes(true, 4'000), hits_of_two_sizes(false, 4'000) * 11 / 10);
  EXPECT_EQ(hits_of_two_sizes(true, 100), hits_of_two_sizes(false, 100)) << "of one size";
  Options options = bounded(8 * kMiB);
  options.size_aware = true;
  options.eviction = false;
  EXPECT_EQ(Store::open(options).error(), (Error{Status::kInvalidArgument, Field::kSizeAware}));
}

// Each way of reading, by itself, saves its key from a scan.
TEST(EvictionTest, EveryWayOfReadingCounts) {
  using Read = void (*)(const Store&, std::string_view);
  const std::pair<const char*, Read> reads[] = {
      {"get span", [](const Store& s, std::string_view k) { char b[8]; (void)s.get(k, std::span<char>(b)); }},
      {"get", [](const Store& s, std::string_view k) { (void)s.get(k); }},
      {"get token", [](const Store& s, std::string_view k) { char b[8]; (void)s.get(s.prefetch(k), std::span<char>(b)); }},
      {"get_entry", [](const Store& s, std::string_view k) { (void)s.get_entry(k); }},
      {"visit", [](const Store& s, std::string_view k) { (void)s.visit(k, [](std::string_view) {}); }},
      {"hold", [](const Store& s, std::string_view k) { (void)s.hold(k); }},
      {"get_many", [](const Store& s, std::string_view k) { Values v; (void)s.get_many(std::span(&k, 1), v); }},
      {"get_or_load", [](const Store& s, std::string_view k) {
         (void)s.get_or_load(k, [](std::string_view) { return Loaded{Status::kNotFound, {}, {}}; });
       }},
  };
  for (const auto& [name, read] : reads) {
    Options options = bounded(16 * kMiB);
    options.entries_max = 500;
    const Store store = open_or_fail(options);
    ASSERT_TRUE(store.set("read", "v"));
    ASSERT_TRUE(store.set("not read", "v"));
    unsigned kept = 0;
    for (unsigned i = 0; i < 5'000; ++i) {
      ASSERT_TRUE(store.set(numbered("scan", i), "v"));
      if (i % 10 == 0) read(store, "read");
      kept += i % 10 == 9 && store.inspect("read").found();  // inspect doesn't count as a read
    }
    EXPECT_EQ(kept, 500u) << name;
    EXPECT_FALSE(store.inspect("not read").found()) << name;
  }
}

TEST(EvictionTest, AnOverwriteKeepsWhatTheReadsHaveEarned) {
  Options options = bounded(16 * kMiB);
  options.entries_max = 500;
  const Store store = open_or_fail(options);
  ASSERT_TRUE(store.set("k", "v"));
  for (unsigned i = 0; i < 5'000; ++i) {
    ASSERT_TRUE(store.set(numbered("scan", i), "v"));
    if (i % 100 != 0) continue;
    for (int n = 0; n < 3; ++n) ASSERT_TRUE(store.get("k")) << i;
    ASSERT_TRUE(store.set("k", numbered("v", i))) << "without the reads since it would go";
  }
}

TEST(EvictionTest, AnEntryThatIsNotEvictableStays) {
  const Store store = open_or_fail(bounded(8 * kMiB));
  SetOptions keep;
  keep.evictable = false;
  for (unsigned i = 0; i < 100; ++i) ASSERT_TRUE(store.set(numbered("keep", i), "v", keep));
  EXPECT_EQ(store.stats().unevictable, 100u);
  ASSERT_TRUE(store.append("keep0", "w"));
  ASSERT_TRUE(store.set("number", "1", keep));
  ASSERT_TRUE(store.increment("number"));
  ASSERT_TRUE(*store.compare_and_swap("keep1", "v", "x"));
  ASSERT_TRUE(store.update("keep2", [](std::optional<std::string_view>) { return Update::replace("y"); }));
  ASSERT_TRUE(store.expire("keep3", 1h));
  ASSERT_TRUE(store.set("was kept", "v", keep));
  ASSERT_TRUE(store.set("was kept", "v"));  // evictable is the default of each set
  ASSERT_TRUE(store.set("is kept", "v"));
  ASSERT_TRUE(store.set("is kept", "v", keep));
  EXPECT_EQ(store.stats().unevictable, 102u);
  {
    Result<Draft> draft = store.allocate("draft", 3);
    ASSERT_TRUE(draft);
    std::copy_n("abc", 3, draft->bytes().data());
    ASSERT_TRUE(draft->publish(keep));
  }
  for (unsigned i = 0; i < 60'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(500)));
  EXPECT_EQ(store.stats().unevictable, 103u);
  EXPECT_EQ(value_of(store, "keep0"), "vw");
  EXPECT_EQ(value_of(store, "number"), "2");
  EXPECT_EQ(value_of(store, "keep1"), "x");
  EXPECT_EQ(value_of(store, "keep2"), "y");
  for (unsigned i = 3; i < 100; ++i) EXPECT_EQ(value_of(store, numbered("keep", i)), "v") << i;
  EXPECT_EQ(value_of(store, "is kept"), "v");
  EXPECT_EQ(value_of(store, "draft"), "abc");
  EXPECT_EQ(value_of(store, "was kept"), std::nullopt);
  for (unsigned i = 0; i < 100; ++i) ASSERT_TRUE(*store.del(numbered("keep", i)));
  EXPECT_EQ(store.stats().unevictable, 3u);
  EXPECT_TRUE(whole(store));
}

TEST(EvictionTest, AStoreOfNothingElseRefusesOrDrops) {
  SetOptions keep;
  keep.evictable = false;
  for (const WhenFull full : {WhenFull::kError, WhenFull::kDrop}) {
    Options options = bounded(4 * kMiB);
    options.entries_max = 100;
    options.full = full;
    const Store store = open_or_fail(options);
    for (unsigned i = 0; i < 100; ++i) ASSERT_TRUE(store.set(numbered("keep", i), "v", keep));
    const Result<std::uint64_t> one = store.set("one more", "v");
    const Result<std::uint64_t> two = store.set("one more", "v", {.if_absent = true});
    const Item items[] = {{"one more", "v", {}}};
    Result<std::uint64_t> many[1];
    ASSERT_TRUE(store.set_many(items, many));
    for (const Result<std::uint64_t>& r : {one, two, many[0]}) {
      if (full == WhenFull::kError) {
        EXPECT_EQ(r.status(), Status::kOutOfMemory);
      } else {
        ASSERT_TRUE(r);
        EXPECT_EQ(*r, 0u);
      }
    }
    EXPECT_EQ(value_of(store, "one more"), std::nullopt);
    EXPECT_GE(store.stats().refused, 3u);
    EXPECT_EQ(store.stats().dropped, full == WhenFull::kDrop ? 3u : 0u);
    EXPECT_EQ(store.stats().entries, 100u);
    ASSERT_TRUE(store.set("keep0", "w", keep)) << "is no insert";
  }
}

TEST(EvictionTest, ARefusedItemOfAGroupCountsOnce) {
  SetOptions keep;
  keep.evictable = false;
  Options options = bounded(4 * kMiB);
  options.entries_max = 100;
  const Store store = open_or_fail(options);
  for (unsigned i = 0; i < 100; ++i) ASSERT_TRUE(store.set(numbered("keep", i), "v", keep));
  const Item items[] = {{"a", "v", {}}, {"b", "v", {}}, {"c", "v", 1h}, {"keep1", "w", {}}};
  Result<std::uint64_t> answers[4];
  ASSERT_TRUE(store.set_many(items, answers));
  EXPECT_TRUE(answers[3]);
  for (unsigned i = 0; i < 3; ++i) EXPECT_EQ(answers[i].status(), Status::kOutOfMemory) << i;
  EXPECT_EQ(store.stats().refused, 3u);
}

// Many more removals than the list of them holds, in one call: each callback finds the store outside of the group.
TEST(EvictionTest, TheCallbackOfAGroupRunsOutsideOfIt) {
  struct Seen {
    const Store* store = nullptr;
    unsigned calls = 0, inside = 0;
    static void tell(void* user, std::string_view, std::string_view, RemovalCause) {
      auto& self = *static_cast<Seen*>(user);
      if (++self.calls % 100 != 1) return;
      // Inside of it nothing that is replaced from now on would ever be free.
      for (int i = 0; i < 50; ++i) (void)self.store->tick(1ms);
      self.inside += self.store->stats().limbo_bytes != 0;
    }
  };
  Options options = bounded(4 * kMiB);
  options.entries_max = 300;
  Seen seen;
  options.on_removed = &Seen::tell;
  options.on_removed_user = &seen;
  const Store store = open_or_fail(options);
  seen.store = &store;
  std::vector<std::string> names;
  for (unsigned i = 0; i < 1'000; ++i) names.push_back(numbered("k", i));
  std::vector<Item> items;
  for (const std::string& name : names) items.push_back({name, "v", {}});
  std::vector<Result<std::uint64_t>> answers(items.size());
  ASSERT_TRUE(store.set_many(items, answers));
  EXPECT_EQ(seen.calls, 700u);
  EXPECT_EQ(seen.inside, 0u);
}

TEST(EvictionTest, ADroppedSetLeavesNoOldValueToRead) {
  SetOptions keep;
  keep.evictable = false;
  Options options = bounded(4 * kMiB);
  options.full = WhenFull::kDrop;
  const Store store = open_or_fail(options);
  ASSERT_TRUE(store.set("k", "old", keep));
  unsigned i = 0;
  for (Result<std::uint64_t> r = store.set("fill", pattern(7'000), keep); r && *r != 0; ++i) {
    r = store.set(numbered("fill", i), pattern(7'000), keep);
  }
  const Result<std::uint64_t> r = store.set("k", pattern(500'000), keep);
  ASSERT_TRUE(r);
  EXPECT_EQ(*r, 0u);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

struct Told {
  std::mutex mutex;
  std::map<std::string, unsigned> times;
  std::uint64_t by_cause[3] = {};
  bool wrong = false;
  const Store* store = nullptr;

  static void tell(void* user, std::string_view key, std::string_view value, RemovalCause cause) {
    auto& self = *static_cast<Told*>(user);
    const std::lock_guard lock(self.mutex);
    ++self.times[std::string(key)];
    ++self.by_cause[static_cast<unsigned>(cause)];
    self.wrong |= !value.starts_with(key);
  }
  std::uint64_t all() const { return by_cause[0] + by_cause[1] + by_cause[2]; }
};

TEST(EvictionTest, EveryRemovalIsToldOnceWithItsCause) {
  ManualClock clock;
  Told told;
  Options options = bounded(4 * kMiB, &clock);
  options.on_removed = &Told::tell;
  options.on_removed_user = &told;
  const Store store = open_or_fail(options);
  const auto set = [&](unsigned i, const SetOptions& o) {
    const std::string key = numbered(std::string(i % 50 == 7 ? 300 : 1, 'k'), i);  // some keys are long
    return store.set(key, key + pattern(i % 50 == 9 ? 20'000 : 300, i), o);
  };
  constexpr unsigned kCount = 40'000;
  for (unsigned i = 0; i < kCount; ++i) {
    SetOptions o;
    if (i % 5 == 0) o.ttl = 10ms;
    ASSERT_TRUE(set(i, o)) << i;
    ASSERT_TRUE(set(i, o)) << "a replacement is no removal";
    if (i % 7 == 0) (void)store.del(numbered(std::string(i % 50 == 7 ? 300 : 1, 'k'), i));
    if (i % 100 == 0) clock.advance(1ms);
  }
  const Stats s = store.stats();
  EXPECT_FALSE(told.wrong);
  EXPECT_EQ(told.all() + s.entries, s.inserts);
  EXPECT_EQ(told.by_cause[static_cast<unsigned>(RemovalCause::kEvicted)], s.evicted);
  EXPECT_EQ(told.by_cause[static_cast<unsigned>(RemovalCause::kDeleted)], s.deletes);
  EXPECT_GT(told.by_cause[static_cast<unsigned>(RemovalCause::kExpired)], 0u);
  for (const auto& [key, times] : told.times) ASSERT_EQ(times, 1u) << key;
  EXPECT_TRUE(whole(store));
}

TEST(EvictionTest, TheCallbackMayCallTheStore) {
  struct Again {
    const Store* store = nullptr;
    unsigned calls = 0;
  } again;
  Options options = bounded(4 * kMiB);
  options.entries_max = 300;
  options.on_removed_user = &again;
  options.on_removed = [](void* user, std::string_view key, std::string_view, RemovalCause cause) {
    auto& a = *static_cast<Again*>(user);
    ++a.calls;
    if (cause != RemovalCause::kEvicted || key.starts_with("note")) return;
    (void)a.store->set(std::string("note") + std::string(key), "evicted");  // may evict, and so on
    (void)a.store->del(key);
  };
  const Store store = open_or_fail(options);
  again.store = &store;
  for (unsigned i = 0; i < 3'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v"));
  EXPECT_GE(again.calls, 2'700u);
  EXPECT_EQ(store.stats().entries, 300u);
  EXPECT_TRUE(whole(store));
}

TEST(EvictionTest, WhatHasExpiredGoesBeforeWhatIsAlive) {
  ManualClock clock;
  Options options = bounded(16 * kMiB, &clock);
  options.entries_max = 1'000;
  const Store store = open_or_fail(options);
  // Half of them expire, all of them are read.
  for (unsigned i = 0; i < 1'000; ++i) {
    SetOptions o;
    if (i % 2 == 0) o.ttl = 10ms;
    ASSERT_TRUE(store.set(numbered("k", i), "v", o));
  }
  for (int n = 0; n < 3; ++n) {
    for (unsigned i = 0; i < 1'000; ++i) ASSERT_TRUE(store.get(numbered("k", i)));
  }
  clock.advance(10ms);
  for (unsigned i = 0; i < 400; ++i) ASSERT_TRUE(store.set(numbered("new", i), "v"));
  const Stats s = store.stats();
  EXPECT_EQ(s.expired + s.evicted, 400u);
  EXPECT_GE(s.expired, 300u) << s.evicted << " went that were alive";
}

TEST(EvictionTest, WeightsAreBoundedTogether) {
  Options options = bounded(16 * kMiB);
  options.entries_max = 10'000;
  options.weigher = [](void*, std::string_view, std::string_view value) {
    return static_cast<std::uint32_t>(value.size());
  };
  const Store store = open_or_fail(options);
  std::mt19937 random(3);
  for (unsigned i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(store.set(numbered("k", random() % 300), pattern(random() % 200)));
    if (i % 5 == 0) (void)store.del(numbered("k", random() % 300));
  }
  std::uint64_t weight = 0;
  for (unsigned i = 0; i < 300; ++i) {
    if (const auto v = value_of(store, numbered("k", i))) weight += std::max<std::size_t>(v->size(), 1);
  }
  EXPECT_LE(weight, 10'000u);
  EXPECT_GT(weight, 9'000u);
  EXPECT_GT(store.stats().evicted, 1'000u);
  const std::uint64_t before = store.stats().evicted;
  EXPECT_EQ(store.set("too heavy", pattern(10'001)).status(), Status::kOutOfMemory);
  EXPECT_EQ(store.stats().evicted, before) << "nobody goes for what can't be";
  ASSERT_TRUE(store.set("heavy", pattern(10'000)));
  EXPECT_EQ(store.stats().entries, 1u);
}

TEST(EvictionTest, AHeldValueIsNoVictim) {
  Options options = bounded(16 * kMiB);
  options.entries_max = 100;
  const Store store = open_or_fail(options);
  ASSERT_TRUE(store.set("held", "v"));
  const Lookup<HeldValue> held = store.hold("held");
  ASSERT_TRUE(held);
  for (unsigned i = 0; i < 5'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v"));
  EXPECT_TRUE(store.inspect("held").found());
  EXPECT_EQ(store.stats().entries, 100u);
}

TEST(EvictionTest, ALargeValueFindsRoomAmongSmallOnes) {
  const Store store = open_or_fail(bounded(64 * kMiB));
  for (unsigned i = 0; i < 700'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(64, i)));
  ASSERT_GT(store.stats().evicted, 50'000u) << "is full";
  unsigned done = 0;
  for (unsigned n = 0; n < 20; ++n) {
    const std::uint64_t before = store.stats().evicted;
    const Result<std::uint64_t> r = store.set(numbered("large", n), pattern(kMiB, n));
    EXPECT_LE(store.stats().evicted - before, 1'024 + kMiB / 32) << "more than its bound";
    if (r) {
      ++done;
      continue;
    }
    ASSERT_EQ(r.status(), Status::kOutOfMemory);
    Result<Owed> owed = store.tick(0ms);
    EXPECT_GE(owed->room_bytes + owed->unplaced_bytes, 1u) << "what it needed is owed";
    for (int i = 0; i < 1'000 && owed->room_bytes + owed->unplaced_bytes != 0; ++i) owed = store.tick(10ms);
    ASSERT_TRUE(store.set(numbered("large", n), pattern(kMiB, n))) << "was owed";
  }
  EXPECT_GE(done, 15u);
  for (unsigned n = 15; n < 20; ++n) {
    EXPECT_TRUE(value_of(store, numbered("large", n)) == pattern(kMiB, n)) << n;
  }
  EXPECT_GT(store.stats().entries, 200'000u);
  EXPECT_TRUE(whole(store));
}

// Keys grow by a digit, and their records by a size class, while the oldest that go are of the class before: each helps only
// once a span is empty of them. Blocks of the wheel's queues are room that no record can have.
TEST(EvictionTest, ASmallStoreTakesEveryWriteWhenItsSizesShiftByOneClass) {
  for (const bool all_expire : {false, true}) {
    for (const std::size_t bytes : {64u, 100u, 128u}) {
      ManualClock clock;
      Options options = bounded(4 * kMiB, &clock);
      options.hash_seed = 42;
      const Store store = open_or_fail(options);
      SetOptions expires;
      expires.ttl = 1h;
      ASSERT_TRUE(store.set("k0", "v", expires));
      for (unsigned i = 0; i < 60'000; ++i) {
        ASSERT_TRUE(store.set(numbered("k", i), pattern(bytes, i), all_expire ? expires : SetOptions{})) << bytes << ' ' << i;
      }
    }
  }
}

TEST(EvictionTest, SizesMayShift) {
  const Store store = open_or_fail(bounded(16 * kMiB));
  unsigned i = 0, refused = 0, written = 0;
  for (int round = 0; round < 2; ++round) {
    for (const std::size_t size : {64u, 4'000u, 64'000u, 200u}) {
      for (std::size_t bytes = 0; bytes < 32 * kMiB; bytes += size + 60, ++i, ++written) {
        const Result<std::uint64_t> r = store.set(numbered("k", i), pattern(size, i));
        refused += !r.ok();
        if (r) {
          ASSERT_TRUE(value_of(store, numbered("k", i)) == pattern(size, i));
        }
      }
      const Stats s = store.stats();
      EXPECT_GT(s.entries * (size + 60), 8 * kMiB) << s.entries << " of " << size;
    }
  }
  EXPECT_LE(refused * 100, written) << refused << " of " << written;
  EXPECT_TRUE(whole(store));
}

// What no size of the moment can use is room for the others: evicting alone left half of the budget in free blocks.
TEST(EvictionTest, AStoreOfManySizesIsFullOfValues) {
  for (const bool pages : {true, false}) {
    const std::size_t budget = 128 * kMiB;
    const Store store = open_or_fail(bounded(budget));
    std::mt19937_64 random(1);
    std::vector<std::size_t> sizes;
    std::size_t written = 0;
    for (; written < 4 * budget; written += sizes.back()) {
      // One to sixteen pages; or 100 bytes to 16 KiB, each doubling as often.
      sizes.push_back(pages ? 4'096 * (1 + random() % 16) : (std::size_t{100} << random() % 7) * (64 + random() % 64) / 64);
      ASSERT_TRUE(store.set(numbered("k", sizes.size()), std::string(sizes.back(), 'v'))) << sizes.size();
    }
    std::size_t bytes = 0;
    for (std::size_t i = 0; i != sizes.size(); ++i) bytes += *store.exists(numbered("k", i + 1)) ? sizes[i] : 0;
    std::printf("%.1f %% in values\n", 100.0 * static_cast<double>(bytes) / static_cast<double>(budget));
    EXPECT_GT(bytes, budget * (pages ? 75 : 60) / 100) << (pages ? "pages" : "any size");
    EXPECT_TRUE(whole(store));
  }
}

TEST(EvictionTest, RemovedKeysLeaveNoQueueBehind) {
  const Store store = open_or_fail(bounded(8 * kMiB));
  for (unsigned i = 0; i < 300'000; ++i) {
    ASSERT_TRUE(store.set(numbered("k", i), "v"));
    if (i >= 500) {
      ASSERT_TRUE(*store.del(numbered("k", i - 500)));
    }
  }
  const Stats s = store.stats();
  EXPECT_EQ(s.evicted, 0u);
  EXPECT_LE(s.queue_small + s.queue_main, 2 * s.entries + 2'000);
  EXPECT_TRUE(whole(store));
}

TEST(EvictionTest, AThreadThatEndsPutsItsNewKeysIntoTheQueues) {
  const Store store = open_or_fail(bounded(16 * kMiB));
  std::jthread([&] {
    for (unsigned i = 0; i < 50; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v"));
  }).join();
  const Stats s = store.stats();
  EXPECT_EQ(s.queue_small + s.queue_main, 50u);
}

TEST(EvictionTest, MaintenanceMakesRoomAheadOfNeed) {
  const Store store = open_or_fail(bounded(8 * kMiB));
  for (unsigned i = 0; i < 100'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(200, i)));
  for (int i = 0; i < 1'000; ++i) {
    const Result<Owed> owed = store.tick(1ms);
    ASSERT_TRUE(owed);
    if (owed->room_bytes == 0) break;
  }
  EXPECT_EQ(store.tick(0ms)->room_bytes, 0u);
  const std::uint64_t before = store.stats().evicted;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(store.tick(1ms));
  EXPECT_EQ(store.stats().evicted, before) << "what isn't needed isn't evicted";
}

// A reader that stands still inside a call holds back all memory that is retired from then on.
TEST(EvictionTest, AStandingReaderNeverEmptiesTheStore) {
  const Store store = open_or_fail(bounded(16 * kMiB));
  for (unsigned i = 0; i < 120'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)));
  const std::uint64_t entries = store.stats().entries;
  ASSERT_TRUE(store.set("k", "v"));
  std::latch inside(1), leave(1);
  std::jthread parked([&] {
    ASSERT_TRUE(store.visit("k", [&](std::string_view) {
      inside.count_down();
      leave.wait();
    }));
  });
  inside.wait();
  const std::uint64_t evicted = store.stats().evicted;
  unsigned refused = 0, n = 0;
  for (; n < 200'000 && refused < 500; ++n) refused += !store.set(numbered("n", n), pattern(100, n)).ok();
  EXPECT_EQ(refused, 500u) << "nothing comes back";
  EXPECT_LT(n, 60'000u) << "the limbo's cap is an eighth of the budget";
  EXPECT_LT(store.stats().evicted - evicted, entries / 4) << "in vain";
  EXPECT_GT(store.stats().entries, entries * 3 / 4) << "but the cache is still one";
  leave.count_down();
  parked.join();
  for (unsigned i = 0; i < 1'000; ++i) {
    ASSERT_TRUE(store.set(numbered("after", i), pattern(100, i))) << i;
  }
  EXPECT_TRUE(whole(store));
}

void eight_threads_on_a_full_store(Maintenance maintenance) {
  Options options = bounded(64 * kMiB);
  options.maintenance = maintenance;
  const Store store = open_or_fail(options);
  for (unsigned i = 0; i < 400'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)));
  const Stats before = store.stats();
  constexpr unsigned kThreads = 8;
  std::atomic<std::uint64_t> refused{0}, wrong{0};
  const unsigned each = quick_or_long(kSanitized ? 20'000u : 150'000u, 3'000'000u);
  std::atomic<std::uint64_t> least{~std::uint64_t{0}}, limbo_then{~std::uint64_t{0}};
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        char out[128];
        for (unsigned i = 0; i < each; ++i) {
          if (!store.set(numbered("t", t * 100'000'000ull + i), pattern(100, i))) {
            ++refused;
            limbo_then = std::min(limbo_then.load(), store.stats().limbo_bytes);
          }
          const unsigned back = i - std::min(i, i % 5'000);
          const Lookup<std::size_t> r = store.get(numbered("t", t * 100'000'000ull + back), std::span<char>(out));
          if (r && std::string_view(out, 100) != pattern(100, back)) ++wrong;
          if (t == 0 && i % 1'000 == 0) least = std::min(least.load(), store.stats().entries);
        }
      });
    }
  }
  const Stats s = store.stats();
  std::printf("inserts %llu, evicted %llu, refused %llu, entries %llu to %llu, limbo %llu KiB\n",
              static_cast<unsigned long long>(s.inserts - before.inserts),
              static_cast<unsigned long long>(s.evicted - before.evicted),
              static_cast<unsigned long long>(refused.load()), static_cast<unsigned long long>(least.load()),
              static_cast<unsigned long long>(s.entries), static_cast<unsigned long long>(s.limbo_bytes >> 10));
  if (refused != 0) {
    std::printf("at a refusal there was at least %llu KiB in limbo\n",
                static_cast<unsigned long long>(limbo_then.load() >> 10));
  }
  // None is the aim, and what an idle machine shows. With four threads to a processor, one that is taken off inside a
  // call for long keeps the limbo; ten in a million were seen then. The count is printed.
  EXPECT_LE(refused * 10'000, s.inserts) << "one in ten thousand";
  EXPECT_EQ(wrong, 0u);
  EXPECT_LE(static_cast<double>(s.evicted), static_cast<double>(s.inserts) * 1.1);
  EXPECT_GT(least, 300'000u) << "emptied";
  EXPECT_TRUE(whole(store));
}
TEST(EvictionTest, EightThreadsOnAFullStore) { eight_threads_on_a_full_store(Maintenance::kTick); }
TEST(EvictionTest, EightThreadsOnAFullStoreAndItsOwn) { eight_threads_on_a_full_store(Maintenance::kBackground); }

}  // namespace
}  // namespace tern::test
