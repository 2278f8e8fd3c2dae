// stats, memory_usage, inspect, holders, tick.
#include <tern/namespace.h>
#include <tern/store.h>

#include <algorithm>
#include <latch>
#include <map>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class StatsTest : public StoreTest {};

TEST_F(StatsTest, CountersSumWhatHappened) {
  for (unsigned i = 0; i < 100; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v"));
  for (unsigned i = 0; i < 150; ++i) (void)store.get(numbered("k", i));
  for (unsigned i = 0; i < 30; ++i) ASSERT_TRUE(store.del(numbered("k", i)));
  ASSERT_FALSE(*store.del("missing"));
  const Stats s = store.stats();
  EXPECT_EQ(s.sets, 100u);
  EXPECT_EQ(s.hits, 100u);
  EXPECT_EQ(s.misses, 50u);
  EXPECT_EQ(s.deletes, 30u);
  EXPECT_EQ(s.entries, 70u);
  EXPECT_EQ(s.refused, 0u);
}

TEST_F(StatsTest, ACensusCountsEveryEntryOnceAndTellsTheHottest) {
  Store full = open_or_fail(small_options(&clock));
  for (unsigned i = 0; i < 5'000; ++i) ASSERT_TRUE(full.set(numbered("k", i), "v"));
  const auto lease = full.lease(std::chrono::seconds(60));  // the store's own keys are nobody's
  const auto other = full.ns("other");
  ASSERT_TRUE(lease && other && other->set("theirs", "v"));
  for (unsigned n = 0; n < 20; ++n) {
    for (unsigned i = 0; i < 32; ++i) ASSERT_TRUE(full.get(numbered("k", i)));
  }
  std::map<std::string, unsigned> told;
  const Result<Census> census = full.census([&](std::string_view key, unsigned reads) {
    EXPECT_TRUE(told.emplace(key, reads).second) << key;
  });
  ASSERT_TRUE(census);
  EXPECT_EQ(told.size(), 5'000u);
  for (unsigned i = 0; i < 32; ++i) EXPECT_GE(told[numbered("k", i)], 2u) << i;
  for (unsigned i = 32; i < 5'000; ++i) ASSERT_EQ(told[numbered("k", i)], 0u) << i;
  EXPECT_GE(census->entries, 5'002u);
  const auto sum = [](const auto& row) { return std::accumulate(row.begin(), row.end(), std::uint64_t{0}); };
  EXPECT_EQ(sum(census->by_reads), census->entries);
  EXPECT_EQ(sum(census->by_entries), census->buckets);
  EXPECT_EQ(sum(census->by_overflow), census->buckets);
  EXPECT_EQ(census->buckets, full.stats().buckets);
  std::uint64_t entries = 0;
  for (std::size_t n = 0; n != census->by_entries.size(); ++n) entries += n * census->by_entries[n];
  EXPECT_EQ(entries, census->entries) << "no chain has more than 15 entries here";
  EXPECT_EQ(full.census()->entries, census->entries);
  full.close();
  EXPECT_EQ(full.census().status(), Status::kClosed);
}

TEST_F(StatsTest, CountersOfThreadsThatHaveGoneRemain) {
  constexpr unsigned kThreads = 4, kEach = 1'000;
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (unsigned i = 0; i < kEach; ++i) {
        const std::string key = numbered("k", t * kEach + i);
        ASSERT_TRUE(store.set(key, "v"));
        ASSERT_TRUE(store.get(key));
        (void)store.get("missing");
        if (i % 2 == 0) {
          ASSERT_TRUE(*store.del(key));
        }
      }
    });
  }
  threads.clear();
  const Stats s = store.stats();
  EXPECT_EQ(s.sets, kThreads * kEach);
  EXPECT_EQ(s.hits, kThreads * kEach);
  EXPECT_EQ(s.misses, kThreads * kEach);
  EXPECT_EQ(s.deletes, kThreads * kEach / 2);
  EXPECT_EQ(s.entries, kThreads * kEach / 2);
}

TEST_F(StatsTest, EveryByteOfTheBudgetIsAccountedFor) {
  const auto check = [&](const char* when) {
    const Stats s = store.stats();
    EXPECT_EQ(s.memory_bytes, 16 * kMiB) << when;
    EXPECT_LE(s.memory_used_bytes, s.memory_bytes) << when;
    EXPECT_LE(s.table_bytes + s.record_bytes + s.overhead_bytes, s.memory_used_bytes) << when;
    EXPECT_GT(s.table_bytes, 0u) << when;
    EXPECT_LE(s.limbo_bytes, s.limbo_bytes_max) << when;
    EXPECT_GT(s.buckets, 0u) << when;
    EXPECT_GE(s.threads, 1u) << when;
  };
  check("empty");
  std::uint64_t payload = 0;
  for (unsigned i = 0; i < 20'000; ++i) {
    const std::string key = numbered("key", i), value = pattern(i % 500);
    payload += key.size() + value.size();
    ASSERT_TRUE(store.set(key, value));
  }
  check("full of records");
  EXPECT_GE(store.stats().record_bytes, payload);
  ASSERT_TRUE(store.set("large", pattern(2'000'000)));
  check("with an extent");
  for (unsigned i = 0; i < 20'000; ++i) ASSERT_TRUE(store.del(numbered("key", i)));
  check("after removals");
}

TEST_F(StatsTest, MemoryUsageCountsKeyValueAndOverhead) {
  for (const std::size_t n : {0u, 1u, 100u, 5'000u, 200'000u, 1'000'000u}) {
    ASSERT_TRUE(store.set("some key", pattern(n)));
    const Lookup<std::size_t> bytes = store.memory_usage("some key");
    ASSERT_TRUE(bytes);
    EXPECT_GE(*bytes, 24 + 8 + n) << n;
    EXPECT_LE(*bytes, (24 + 8 + n) * 9 / 8 + 64 * 1'024 + 64) << n;
    EXPECT_EQ(store.inspect("some key")->block_bytes, *bytes) << n;
  }
  ASSERT_TRUE(store.set("some key", pattern(68)));
  EXPECT_LE(*store.memory_usage("some key"), 104u) << "24 + 8 + 68, in classes of 8 bytes";
}

TEST_F(StatsTest, InspectTellsWhatTheKeyIs) {
  const std::uint64_t version = *store.set("key", "value");
  const Lookup<Inspection> i = store.inspect("key");
  ASSERT_TRUE(i);
  EXPECT_EQ(i->version, version);
  EXPECT_EQ(i->key_bytes, 3u);
  EXPECT_EQ(i->value_bytes, 5u);
  EXPECT_EQ(i->older_versions, 0u) << "no view is open";
  EXPECT_EQ(i->holds, 0u);
  EXPECT_EQ(i->ttl, std::nullopt);
  EXPECT_LT(i->bucket, store.stats().buckets);
}

TEST_F(StatsTest, ChainsStayShortThroughGrowth) {
  for (unsigned i = 0; i < 50'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v"));
  unsigned deepest = 0;
  for (unsigned i = 0; i < 50'000; ++i) {
    const Lookup<Inspection> r = store.inspect(numbered("k", i));
    ASSERT_TRUE(r);
    deepest = std::max(deepest, r->slot);
  }
  EXPECT_LE(deepest, 7u * 4u) << "in slots: more than three overflow buckets behind one";
  const Stats s = store.stats();
  EXPECT_GE(s.buckets * 7, 50'000u * 7 / 8) << "the table grew with its entries";
}

TEST_F(StatsTest, TickDrainsTheLimbo) {
  for (unsigned i = 0; i < 10'000; ++i) ASSERT_TRUE(store.set(numbered("k", i % 10), pattern(500)));
  Owed owed{};
  for (int i = 0; i < 100; ++i) {
    const Result<Owed> r = store.tick(10ms);
    ASSERT_TRUE(r);
    owed = *r;
    if (owed.limbo_bytes == 0 && owed.buckets_to_split == 0) break;
  }
  EXPECT_EQ(owed.limbo_bytes, 0u);
  EXPECT_EQ(owed.buckets_to_split, 0u);
  EXPECT_EQ(store.stats().limbo_bytes, 0u);
}

TEST_F(StatsTest, TickOfNoTimeStillAnswers) {
  EXPECT_TRUE(store.tick(0us));
  EXPECT_TRUE(store.tick(-1us));
}

TEST_F(StatsTest, AThreadParkedInsideACallIsAHolder) {
  ASSERT_TRUE(store.set("k", "v"));
  std::latch inside(1), leave(1);
  std::jthread parked([&] {
    ASSERT_TRUE(store.visit("k", [&](std::string_view) {
      inside.count_down();
      leave.wait();
    }));
  });
  inside.wait();
  // The epoch moves on under the parked reader until somebody can tell that it lags.
  bool seen = false;
  for (unsigned i = 0; i < 200 && !seen; ++i) {
    for (unsigned n = 0; n < 100; ++n) (void)store.set("churn", pattern(300, n));
    (void)store.tick(1ms);
    store.holders([&](const Holder& h) {
      seen |= h.kind == Holder::Kind::kParkedThread && h.epochs_behind > 0;
    });
  }
  EXPECT_TRUE(seen);
  EXPECT_GT(store.stats().limbo_bytes, 0u);
  leave.count_down();
  parked.join();
  for (unsigned i = 0; i < 100 && store.tick(10ms)->limbo_bytes != 0; ++i) {
  }
  EXPECT_EQ(store.stats().limbo_bytes, 0u) << "what it held back came free";
}

TEST_F(StatsTest, AReaderParkedForLongBoundsTheLimboAndBlocksNoRead) {
  ASSERT_TRUE(store.set("k", "v"));
  std::latch inside(1), leave(1);
  std::jthread parked([&] {
    ASSERT_TRUE(store.visit("k", [&](std::string_view bytes) {
      inside.count_down();
      leave.wait();
      EXPECT_EQ(bytes, "v");
    }));
  });
  inside.wait();
  // Replace until writes are refused: 64 times the budget would be retired otherwise.
  bool refused = false;
  for (unsigned i = 0; i < 70'000 && !refused; ++i) {
    const Result<std::uint64_t> w = store.set("churn", pattern(15'000, i % 5));
    refused = w.status() == Status::kOutOfMemory;
    ASSERT_TRUE(w.ok() || refused);
    const Stats s = store.stats();
    ASSERT_LE(s.memory_used_bytes, s.memory_bytes);
  }
  EXPECT_TRUE(refused) << "nothing can be reused, so the budget is used up";
  EXPECT_EQ(value_of(store, "k"), "v");
  EXPECT_TRUE(value_of(store, "churn").has_value());
  EXPECT_TRUE(*store.del("churn")) << "removals draw on a reserve";
  leave.count_down();
  parked.join();
  ASSERT_TRUE(store.tick(100ms));
  for (unsigned i = 0; i < 100; ++i) {
    const Result<std::uint64_t> w = store.set("churn", pattern(15'000, i));
    ASSERT_TRUE(w) << status_name(w.status()) << ": the store didn't recover";
  }
}

TEST_F(StatsTest, StatusAndFieldNamesAreThoseOfTheDocumentation) {
  EXPECT_STREQ(status_name(Status::kOk), "ok");
  EXPECT_STREQ(status_name(Status::kNotFound), "not_found");
  EXPECT_STREQ(status_name(Status::kOutOfMemory), "out_of_memory");
  EXPECT_STREQ(status_name(Status::kInvalidArgument), "invalid_argument");
  EXPECT_STREQ(status_name(Status::kConflict), "conflict");
  EXPECT_STREQ(field_name(Field::kMemoryBytes), "memory_bytes");
  EXPECT_STREQ(field_name(Field::kTtl), "ttl");
  for (unsigned i = 0; i <= static_cast<unsigned>(Status::kConflict); ++i) {
    ASSERT_NE(status_name(static_cast<Status>(i)), nullptr);
    EXPECT_NE(std::string(status_name(static_cast<Status>(i))), "");
  }
  EXPECT_NE(status_name(static_cast<Status>(250)), nullptr);
  EXPECT_NE(field_name(static_cast<Field>(250)), nullptr);
}

}  // namespace
}  // namespace tern::test
