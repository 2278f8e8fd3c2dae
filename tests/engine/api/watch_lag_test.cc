// How far watches are: Stats::watch_lag, watch_gaps and watch_lost, the slow ones among the holders, and in which rings.
#include <tern/watch_set.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

Watch must(Result<Watch> watch) {
  EXPECT_TRUE(watch) << testing::PrintToString(watch.error());
  return std::move(*watch);
}
// By their ids.
std::map<std::uint64_t, Holder> slow_ones(const Store& store) {
  std::map<std::uint64_t, Holder> all;
  store.holders([&](const Holder& h) {
    if (h.kind != Holder::Kind::kSlowWatch) return;
    EXPECT_TRUE(all.emplace(h.id, h).second) << "twice";
    EXPECT_GT(h.behind, 0u);
  });
  return all;
}
template <class AnyWatch>
std::size_t read_all(AnyWatch& watch) {
  Change changes[Watch::kPollMax];
  std::size_t sum = 0;
  for (;;) {
    const Result<std::size_t> n = watch.poll(changes);
    EXPECT_TRUE(n);
    if (!n || *n == 0) return sum;
    sum += *n;
  }
}

class WatchLagTest : public StoreTest {
 protected:
  void set(int from, int to) {
    for (int i = from; i != to; ++i) ASSERT_TRUE(store.set(numbered("k", static_cast<unsigned>(i)), "v"));
  }
};

TEST_F(WatchLagTest, WhoReadsNothingIsBehindByEveryChange) {
  EXPECT_EQ(store.stats().watch_lag, 0u);
  EXPECT_TRUE(slow_ones(store).empty());
  Watch slow = must(store.watch_prefix("")), fast = must(store.watch_prefix("other"));
  EXPECT_NE(slow.id(), 0u);
  EXPECT_NE(slow.id(), fast.id());
  EXPECT_TRUE(slow_ones(store).empty());
  set(0, 10);
  EXPECT_EQ(store.stats().watch_lag, 10u);
  EXPECT_EQ(read_all(fast), 0u);  // nothing for it, but looked at
  clock.advance(250ms);
  auto holders = slow_ones(store);
  ASSERT_EQ(holders.size(), 1u);
  EXPECT_EQ(holders[slow.id()].behind, 10u);
  EXPECT_EQ(holders[slow.id()].behind, slow.lag());
  EXPECT_EQ(holders[slow.id()].age, 250ms);
  Change some[4];
  ASSERT_EQ(*slow.poll(some), 4u);
  clock.advance(30ms);
  holders = slow_ones(store);
  EXPECT_EQ(holders[slow.id()].behind, 6u);
  EXPECT_EQ(holders[slow.id()].age, 30ms) << "since it last looked at a change";
  EXPECT_EQ(store.stats().watch_lag, 6u);
  EXPECT_EQ(read_all(slow), 6u);
  EXPECT_EQ(store.stats().watch_lag, 0u);
  EXPECT_TRUE(slow_ones(store).empty());
  // Wait passes over what is for others, too.
  set(10, 15);
  EXPECT_EQ(slow_ones(store).size(), 2u);
  EXPECT_FALSE(*fast.wait(0ms));
  EXPECT_EQ(slow_ones(store).count(fast.id()), 0u);
  const std::uint64_t gone = slow.id();
  slow.close();
  EXPECT_EQ(slow.id(), 0u);
  EXPECT_TRUE(slow_ones(store).empty());
  EXPECT_EQ(store.stats().watch_lag, 0u);
  EXPECT_NE(must(store.watch_key("x")).id(), gone) << "a number isn't given again";
}

TEST_F(WatchLagTest, AWatchOfOneKeyIsBehindInItsShardAlone) {
  const unsigned shard = store.inspect((void(store.set("k0", "v")), "k0"))->shard;
  Watch one = must(store.watch_key("k0"));
  std::uint64_t in_shard = 0;
  for (unsigned i = 0; i != 64; ++i) {
    ASSERT_TRUE(store.set(numbered("k", i), "v"));
    in_shard += store.inspect(numbered("k", i))->shard == shard;
  }
  ASSERT_LT(in_shard, 64u);
  EXPECT_EQ(store.stats().watch_lag, in_shard);
  EXPECT_EQ(slow_ones(store)[one.id()].behind, in_shard);
  EXPECT_EQ(read_all(one), 1u);
  EXPECT_EQ(store.stats().watch_lag, 0u);
}

TEST_F(WatchLagTest, AResumedWatchIsWhereItsTokenSays) {
  Watch watch = must(store.watch_prefix(""));
  set(0, 5);
  EXPECT_EQ(read_all(watch), 5u);
  const Value token = std::move(*watch.token());
  set(5, 12);
  EXPECT_EQ(read_all(watch), 7u);
  WatchOptions how;
  how.resume = token.view();
  Watch again = must(store.watch_prefix("", how));
  EXPECT_EQ(slow_ones(store)[again.id()].behind, 7u);
  EXPECT_EQ(read_all(again), 7u);
  EXPECT_TRUE(slow_ones(store).empty());
  WatchOptions from_the_start;
  from_the_start.initial = true;
  Watch lists = must(store.watch_prefix("", from_the_start));
  EXPECT_TRUE(slow_ones(store).empty()) << "what a view has isn't a change";
  EXPECT_EQ(read_all(lists), 13u);
}

TEST(WatchLag, WhatIsLostIsCountedForGood) {
  ManualClock clock;
  Options o = small_options(&clock);
  o.shard_count = 1;
  o.ring_bytes = 1 << 10;
  const Store store = open_or_fail(o);
  std::uint64_t gaps = 0, lost = 0;
  for (int round = 0; round != 3; ++round) {
    Watch a = must(store.watch_prefix("")), b = must(store.watch_key("k"));
    for (unsigned i = 0; i != 1'000; ++i) ASSERT_TRUE(store.set("k", "v"));
    EXPECT_EQ(store.stats().watch_lag, 1'000u) << "what was overrun is counted until it is told";
    for (Watch* w : {&a, &b}) {
      Change changes[64];
      for (Result<std::size_t> n; (n = w->poll(changes)) && *n != 0;) {
        for (const Change& c : std::span(changes).first(*n)) {
          gaps += c.kind == ChangeKind::kGap;
          lost += c.lost;
        }
      }
    }
    EXPECT_EQ(store.stats().watch_lag, 0u);
    EXPECT_GT(a.lost(), 0u);
    EXPECT_EQ(a.lost(), b.lost());
    EXPECT_EQ(store.stats().watch_gaps, gaps);
    EXPECT_EQ(store.stats().watch_lost, lost);
  }
  EXPECT_EQ(store.stats().watch_gaps, gaps);
  EXPECT_EQ(store.stats().watch_lost, lost);
}

// What waits to be gathered has been looked at; its gaps count all the same.
TEST(WatchLag, OfAWatchThatGathersToo) {
  ManualClock clock;
  Options o = small_options(&clock);
  o.shard_count = 1;
  o.ring_bytes = 1 << 10;
  const Store store = open_or_fail(o);
  WatchSetOptions how;
  how.gather = true;
  WatchSet set = std::move(*WatchSet::open(store, how));
  ASSERT_TRUE(set.add_prefix(""));
  for (unsigned i = 0; i != 1'000; ++i) ASSERT_TRUE(store.set("k", "v"));
  EXPECT_EQ(slow_ones(store)[set.id()].behind, 1'000u);
  EXPECT_GT(read_all(set), 0u);
  EXPECT_TRUE(slow_ones(store).empty());
  EXPECT_EQ(store.stats().watch_lost, set.lost());
  EXPECT_GT(set.lost(), 0u);
}

TEST_F(WatchLagTest, BytesAreThoseOfWhatItHasYetToRead) {
  Watch slow = must(store.watch_prefix("")), half = must(store.watch_prefix(""));
  const std::string value = pattern(1'000);
  for (unsigned i = 0; i != 64; ++i) ASSERT_TRUE(store.set("k", value));
  for (int i = 0; i != 100; ++i) ASSERT_TRUE(store.tick(1ms));
  const std::uint64_t all = store.stats().event_bytes;
  ASSERT_GE(all, 63'000u);
  Change changes[32];
  ASSERT_EQ(*half.poll(changes), 32u);
  auto holders = slow_ones(store);
  EXPECT_EQ(holders[slow.id()].bytes, all);
  EXPECT_EQ(holders[half.id()].bytes, all / 2);
  EXPECT_EQ(holders[half.id()].behind, 32u);
  read_all(half);
  holders = slow_ones(store);
  EXPECT_EQ(holders.size(), 1u);
  EXPECT_EQ(holders[slow.id()].bytes, all);
}

TEST_F(WatchLagTest, WhoIsToldOfThemMayEndThem) {
  std::map<std::uint64_t, Watch> watches;
  for (int i = 0; i != 100; ++i) {
    Watch w = must(store.watch_prefix(""));
    watches.emplace(w.id(), std::move(w));
  }
  set(0, 3);
  unsigned ended = 0;
  store.holders([&](const Holder& h) {
    if (h.kind != Holder::Kind::kSlowWatch) return;
    ended += static_cast<unsigned>(watches.erase(h.id));
    Watch another = must(store.watch_key("k1"));  // in a line that was given back
    EXPECT_EQ(watches.count(another.id()), 0u);
  });
  EXPECT_EQ(ended, 100u);
  EXPECT_EQ(store.stats().watches, 0u);
}

// Watches come, read and go on several threads, while others write and ask.
TEST(WatchLag, BesideWatchesThatComeAndGo) {
  const unsigned rounds = quick_or_long(3'000u, 100'000u);
  Options o = small_options();
  o.shard_count = 4;
  const Store store = open_or_fail(o);
  Watch keeps = must(store.watch_key("k0"));  // it never reads
  std::atomic<bool> stop{false}, is_seen{false};
  std::atomic<std::uint64_t> written{0};
  std::thread writes([&] {
    for (unsigned i = 0; !stop; ++i) {
      written.fetch_add(1);
      (void)store.set(numbered("k", i % 8), "v");
    }
  });
  std::vector<std::thread> watchers;
  for (int t = 0; t != 2; ++t) {
    watchers.emplace_back([&] {
      Change changes[16];
      for (unsigned i = 0; i < rounds || !is_seen; ++i) {
        Watch w = must(store.watch_prefix(""));
        (void)w.poll(changes);
        if (i % 8 == 0) read_all(w);
      }
    });
  }
  std::thread asks([&] {
    std::uint64_t most = 0;
    while (!stop) {
      std::uint64_t of_kept = 0;
      for (const auto& [id, h] : slow_ones(store)) {
        if (id == keeps.id()) of_kept = h.behind;
        ASSERT_LE(h.behind, written.load()) << "more than there were";
      }
      ASSERT_GE(of_kept, most) << "it never reads";
      most = of_kept;
      if (most != 0) is_seen = true;
      const std::uint64_t lag = store.stats().watch_lag;  // before it is asked how many were written
      ASSERT_LE(lag, written.load());
    }
  });
  for (auto& t : watchers) t.join();
  stop = true;
  writes.join();
  asks.join();
  EXPECT_EQ(slow_ones(store).size(), 1u);
  keeps.close();
  EXPECT_TRUE(whole(store));
}

// Shards that lie side by side share a ring where there are more of them than the processors' writers need.
TEST(WatchRings, AreOfSeveralShardsWhereThereAreMany) {
  constexpr unsigned kShards = 1'024, kKeys = 4'096;
  ManualClock clock;
  Options o = small_options(&clock);
  o.memory_bytes = 64 * kMiB;
  o.shard_count = kShards;
  const Store store = open_or_fail(o);
  Watch all = must(store.watch_prefix(""));
  WatchOptions with_previous;
  with_previous.previous = true;
  Watch remembers = must(store.watch_prefix("", with_previous));
  Watch one = must(store.watch_key("k7"));
  const auto rings = static_cast<unsigned>((all.token()->view().size() - 56) / 8);
  ASSERT_TRUE(rings != 0 && kShards % rings == 0) << rings;
  EXPECT_EQ(one.token()->view().size(), 64u);
  const auto ring_of = [&](std::string_view key) { return store.inspect(key)->shard / (kShards / rings); };
  std::map<std::string, unsigned> told;
  std::vector<std::uint64_t> position(rings);
  std::vector<unsigned> points(rings), puts(rings);
  std::uint64_t of_its_ring = 0, previous = 0;
  const auto read = [&](Watch& watch, auto&& fn) {
    Change changes[Watch::kPollMax];
    for (std::size_t n; (n = *watch.poll(changes)) != 0;) {
      for (const Change& c : std::span(changes).first(n)) fn(c);
    }
  };
  const auto set_all = [&](unsigned step) {
    for (unsigned i = 0; i < kKeys; i += step) {
      ASSERT_TRUE(store.set(numbered("k", i), "v"));
      of_its_ring += ring_of(numbered("k", i)) == ring_of("k7");
    }
  };
  const auto note = [&](const Change& c) {
    ASSERT_LT(c.shard, rings);
    EXPECT_EQ(c.sequence, position[c.shard]++) << "a position is missing, or comes twice";
    if (c.kind == ChangeKind::kInvalidate) {
      EXPECT_EQ(puts[c.shard], 0u) << "told behind what came after it";
      ++points[c.shard];
      return;
    }
    EXPECT_EQ(c.shard, ring_of(c.key)) << c.key;
    ++told[std::string(c.key)];
    ++puts[c.shard];
  };
  ASSERT_TRUE(store.set("k7", "v"));
  ++of_its_ring;
  set_all(1);
  EXPECT_EQ(one.lag(), of_its_ring);
  EXPECT_EQ(slow_ones(store)[one.id()].behind, of_its_ring);
  EXPECT_EQ(read_all(one), 2u);
  EXPECT_EQ(one.lag(), 0u);
  read(all, note);
  EXPECT_EQ(told.size(), kKeys);
  for (const auto& [key, count] : told) EXPECT_EQ(count, key == "k7" ? 2u : 1u) << key;
  read(remembers, [&](const Change& c) { previous += c.has_previous; });
  EXPECT_EQ(previous, 1u);

  puts.assign(rings, 0);
  ASSERT_TRUE(store.clear().ok());
  set_all(2);
  set_all(2);
  read(all, note);
  EXPECT_EQ(points, std::vector<unsigned>(rings, 1));
  previous = 0;
  read(remembers, [&](const Change& c) { previous += c.has_previous; });
  EXPECT_EQ(previous, kKeys / 2) << "what was cleared is forgotten, what came after it isn't";
  EXPECT_EQ(read_all(one), 1u) << "the clear";
  EXPECT_EQ(all.lost() + remembers.lost() + one.lost(), 0u);
  EXPECT_TRUE(whole(store));
}

// A hundred thousand watches of one store: each hears of its own key, and of nothing else.
TEST(WatchLag, AHundredThousandWatches) {
  constexpr unsigned kWatches = kSanitized ? 3'000 : 100'000;  // it has one thread, and takes minutes there
  ManualClock clock;
  Options o = small_options(&clock);
  o.memory_bytes = 64 * kMiB;
  o.shard_count = 256;
  const Store store = open_or_fail(o);
  std::vector<Watch> watches;
  watches.reserve(kWatches);
  for (unsigned i = 0; i != kWatches; ++i) {
    watches.push_back(must(store.watch_key(numbered("k", i))));
    ASSERT_TRUE(watches.back().is_open()) << i;
  }
  EXPECT_EQ(store.stats().watches, kWatches);
  EXPECT_EQ(store.stats().watch_lag, 0u);
  constexpr unsigned kEach = kSanitized ? 7 : 97;
  std::uint64_t set = 0;
  for (unsigned i = 0; i < kWatches; i += kEach, ++set) ASSERT_TRUE(store.set(numbered("k", i), std::to_string(i)));
  EXPECT_GT(store.stats().watch_lag, 0u);
  EXPECT_GT(slow_ones(store).size(), kWatches / 2) << "somebody has written to most shards";
  std::uint64_t told = 0;
  for (unsigned i = 0; i != kWatches; ++i) {
    Change changes[4];
    const Result<std::size_t> n = watches[i].poll(changes);
    ASSERT_EQ(*n, i % kEach == 0 ? 1u : 0u) << i;
    if (*n == 0) continue;
    ASSERT_EQ(changes[0].key, numbered("k", i));
    ASSERT_EQ(changes[0].value, std::to_string(i));
    ++told;
  }
  EXPECT_EQ(told, set);
  EXPECT_EQ(store.stats().watch_lag, 0u);
  EXPECT_EQ(store.stats().watch_lost, 0u);
  // The second half goes; the rest hears on, and what was read leaves the rings although all have to arrive.
  watches.resize(kWatches / 2);
  EXPECT_EQ(store.stats().watches, kWatches / 2);
  ASSERT_TRUE(store.set("k1", "again"));
  Change changes[4];
  EXPECT_EQ(*watches[1].poll(changes), 1u);
  watches.clear();
  EXPECT_EQ(store.stats().watches, 0u);
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
