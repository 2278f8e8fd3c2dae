// What expires leaves: by tick and cleanup_expired, in bounded slices, with its memory, whatever
// was done to its deadline in between; times to idle; and what happens without memory for the
// wheel.
#include <tern/store.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class ExpiryTest : public StoreTest {
 protected:
  std::uint64_t cleanup() {
    const Result<std::uint64_t> r = store.cleanup_expired();
    EXPECT_TRUE(r.ok());
    return *r;
  }
  void fill(unsigned count, milliseconds ttl, std::string_view prefix = "k") {
    for (unsigned n = 0; n != count; ++n) {
      ASSERT_TRUE(store.set(numbered(prefix, n), "value", {.ttl = ttl}));
    }
  }
};

TEST_F(ExpiryTest, CleanupRemovesWhatIsPastAndNothingElse) {
  fill(1'000, 100ms, "short");
  fill(500, 101ms, "long");
  ASSERT_TRUE(store.set("stays", "v"));
  EXPECT_EQ(cleanup(), 0u);
  clock.advance(99ms);
  EXPECT_EQ(cleanup(), 0u);
  clock.advance(1ms);
  EXPECT_EQ(cleanup(), 1'000u);
  EXPECT_EQ(cleanup(), 0u);
  EXPECT_EQ(store.stats().entries, 501u);
  EXPECT_EQ(store.stats().expired, 1'000u);
  EXPECT_EQ(store.stats().expiring, 500u);
  clock.advance(1ms);
  EXPECT_EQ(cleanup(), 500u);
  EXPECT_EQ(store.stats().entries, 1u);
  EXPECT_EQ(store.stats().expiring, 0u);
  EXPECT_EQ(store.stats().tickets, 0u);
}

TEST_F(ExpiryTest, TickRemovesItToo) {
  fill(10'000, 5s);
  EXPECT_EQ(store.tick(1s)->shards_with_expired, 0u);
  EXPECT_EQ(store.stats().entries, 10'000u);
  clock.advance(5s);
  EXPECT_GT(store.tick(0us)->shards_with_expired, 0u);
  EXPECT_EQ(store.tick(10s)->shards_with_expired, 0u);
  EXPECT_EQ(store.stats().entries, 0u);
  EXPECT_EQ(store.stats().deletes, 0u);
}

TEST_F(ExpiryTest, TheMemoryComesBack) {
  const std::string value = pattern(1'000);
  for (int round = 0; round != 20; ++round) {  // of 10 MB each, in a store of 16 MiB
    for (unsigned n = 0; n != 10'000; ++n) {
      ASSERT_TRUE(
          store.set(numbered("k", n + 10'000u * static_cast<unsigned>(round)), value, {.ttl = 1s}))
          << round;
    }
    clock.advance(1s);
    EXPECT_EQ(cleanup(), 10'000u);
  }
}

// Every boundary of the wheel's levels, from a clock that stands somewhere.
TEST_F(ExpiryTest, EveryBoundaryIsMetExactly) {
  for (unsigned k = 0; k != 40; ++k) {
    for (const int off : {-1, 0, 1}) {
      const milliseconds ttl((std::int64_t{1} << k) + off);
      if (ttl.count() == 0) continue;
      ASSERT_TRUE(store.set("k", "v", {.ttl = ttl}));
      clock.advance(ttl - 1ms);
      EXPECT_EQ(cleanup(), 0u) << ttl.count();
      clock.advance(1ms);
      EXPECT_EQ(cleanup(), 1u) << ttl.count();
      EXPECT_EQ(store.stats().tickets, 0u);
    }
  }
}

TEST_F(ExpiryTest, TheLongestLifetimeEnds) {
  const milliseconds longest(std::int64_t{139} * 365 * 86'400'000);
  ASSERT_TRUE(store.set("k", "v", {.ttl = longest}));
  clock.advance(longest - 1ms);
  EXPECT_EQ(cleanup(), 0u);
  EXPECT_EQ(value_of(store, "k"), "v");
  clock.advance(1ms);
  EXPECT_EQ(cleanup(), 1u);
}

TEST_F(ExpiryTest, ALaterDeadlineCountsAndFilesNothing) {
  fill(1'000, 100ms);
  const std::uint64_t tickets = store.stats().tickets;
  for (int round = 0; round != 50; ++round) {
    clock.advance(50ms);
    for (unsigned n = 0; n != 1'000; ++n) {
      if (n % 2 == 0) {
        ASSERT_TRUE(*store.expire(numbered("k", n), 100ms));
      } else {
        ASSERT_TRUE(store.set(numbered("k", n), "again", {.ttl = 100ms}));
      }
    }
    EXPECT_EQ(cleanup(), 0u);
    EXPECT_EQ(store.stats().tickets, tickets);
  }
  clock.advance(100ms);
  EXPECT_EQ(cleanup(), 1'000u);
}

TEST_F(ExpiryTest, AnEarlierDeadlineCounts) {
  fill(100, 1h);
  for (unsigned n = 0; n != 100; ++n) {
    if (n % 2 == 0) {
      ASSERT_TRUE(*store.expire(numbered("k", n), 1s));
    } else {
      ASSERT_TRUE(store.set(numbered("k", n), "again", {.ttl = 1s}));
    }
  }
  clock.advance(1s);
  EXPECT_EQ(cleanup(), 100u);
  clock.advance(1h);
  EXPECT_EQ(cleanup(), 0u);
  EXPECT_EQ(store.stats().tickets, 0u);
}

TEST_F(ExpiryTest, ADeadlineThatWasTakenAwayEndsNothing) {
  fill(100, 1s);
  for (unsigned n = 0; n != 100; ++n) {
    const std::string key = numbered("k", n);
    if (n % 4 == 0) {
      ASSERT_TRUE(*store.persist(key));
    } else if (n % 4 == 1) {
      ASSERT_TRUE(store.set(key, "again"));
    } else {
      ASSERT_TRUE(*store.del(key));
    }
    if (n % 4 == 3) {
      ASSERT_TRUE(store.set(key, "another"));
    }
  }
  EXPECT_EQ(store.stats().expiring, 0u);
  clock.advance(1h);
  EXPECT_EQ(cleanup(), 0u);
  EXPECT_EQ(store.stats().entries, 75u);
  EXPECT_EQ(store.stats().tickets, 0u);
}

TEST_F(ExpiryTest, AWriteOfEachKindKeepsTheTicketInStep) {
  struct Write {
    const char* name;
    std::function<bool(std::string_view)> act;
    bool keeps;
  };
  const Write writes[] = {
      {"set", [&](auto k) { return store.set(k, "1").ok(); }, false},
      {"set keep_ttl", [&](auto k) { return store.set(k, "1", {.keep_ttl = true}).ok(); }, true},
      {"compare_and_swap", [&](auto k) { return *store.compare_and_swap(k, "0", "1"); }, true},
      {"increment", [&](auto k) { return store.increment(k).ok(); }, true},
      {"append", [&](auto k) { return store.append(k, "1").ok(); }, true},
      {"update",
       [&](auto k) { return store.update(k, [](auto) { return Update::replace("2"); }).ok(); },
       true},
      {"get_and_set", [&](auto k) { return store.get_and_set(k, "1").found(); }, false},
      {"publish", [&](auto k) { return store.allocate(k, 1)->publish({.keep_ttl = true}).ok(); },
       true},
      {"publish anew", [&](auto k) { return store.allocate(k, 1)->publish().ok(); }, false},
  };
  for (const Write& w : writes) {
    ASSERT_TRUE(store.set(w.name, "0", {.ttl = 1s}));
    ASSERT_TRUE(w.act(w.name)) << w.name;
    EXPECT_EQ(store.stats().expiring, w.keeps ? 1u : 0u) << w.name;
    clock.advance(1s);
    EXPECT_EQ(cleanup(), w.keeps ? 1u : 0u) << w.name;
    (void)store.del(w.name);
  }
}

TEST_F(ExpiryTest, VoidTicketsAreBounded) {
  for (unsigned round = 0; round != 200; ++round) {
    for (unsigned n = 0; n != 500; ++n) {
      const std::string key = numbered("k", n);
      ASSERT_TRUE(store.set(key, "v", {.ttl = milliseconds(3'600'000 + n * 977)}));
      ASSERT_TRUE(*store.del(key));
    }
  }
  // 100,000 were filed and none has come up.
  const Stats s = store.stats();
  EXPECT_EQ(s.expiring, 0u);
  EXPECT_LE(s.tickets, 4 * 1'100u);  // in four shards
}

TEST_F(ExpiryTest, AMillionAtOneInstantGoInSlices) {
  Options o = small_options(&clock);
  o.memory_bytes = 256 * kMiB;
  const Store big = open_or_fail(o);
  const unsigned count = kSanitized ? 100'000 : 1'000'000;
  for (unsigned n = 0; n != count; ++n) {
    ASSERT_TRUE(big.set(numbered("k", n), "v", {.ttl = 10s}));
  }
  clock.advance(24h);
  unsigned ticks = 0;
  std::uint64_t before = big.stats().entries;
  for (; big.stats().entries != 0; ++ticks) {
    ASSERT_TRUE(big.tick(200us));
    const std::uint64_t entries = big.stats().entries;
    ASSERT_LE(entries, before);  // a tick whose time went to others has done nothing
    before = entries;
  }
  EXPECT_GT(ticks, 20u);
  EXPECT_EQ(big.stats().expired, count);
  EXPECT_TRUE(whole(big));
}

TEST_F(ExpiryTest, WhatStaleReadersMayStillTakeStays) {
  const LoadOptions o{.ttl = 1s, .stale = 10s};
  const auto load = [](std::string_view) { return Loaded{Status::kOk, Value("loaded"), {}}; };
  ASSERT_TRUE(store.get_or_load("k", load, o));
  clock.advance(5s);
  EXPECT_EQ(cleanup(), 0u);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
  EXPECT_EQ(store.stats().entries, 1u);
  clock.advance(6s + 200ms);  // a stale time is rounded up by less than a 63rd
  EXPECT_EQ(cleanup(), 1u);
}

TEST_F(ExpiryTest, ARememberedAbsenceLeavesToo) {
  const LoadOptions o{.negative_ttl = 1s};
  const auto load = [](std::string_view) { return Loaded{Status::kNotFound, Value(), {}}; };
  EXPECT_TRUE(store.get_or_load("k", load, o).missing());
  EXPECT_EQ(store.stats().entries, 1u);
  clock.advance(1s);
  EXPECT_EQ(cleanup(), 1u);
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(ExpiryTest, LongKeysAndLargeValuesLeave) {
  const std::string sizes[] = {std::string(254, 'a'), std::string(255, 'b'),
                               std::string(9'000, 'c'), std::string(65'527, 'd')};
  for (const std::string& key : sizes) {
    ASSERT_TRUE(store.set(key, pattern(300'000), {.ttl = 1s}));
    ASSERT_TRUE(store.set(key + "x", "v", {.ttl = 1s}).ok() || key.size() == 65'527);
  }
  clock.advance(1s);
  EXPECT_EQ(cleanup(), 7u);
}

// --- time to idle --------------------------------------------------------------------------------

TEST_F(ExpiryTest, AnIdleEntryLeaves) {
  ASSERT_TRUE(store.set("k", "v", {.idle = 800ms}));
  clock.advance(799ms);
  EXPECT_EQ(cleanup(), 0u);
  clock.advance(14ms);  // rounded up by less than a 63rd
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
  EXPECT_EQ(cleanup(), 1u);
}

TEST_F(ExpiryTest, EachReadKeepsAnIdleEntryAlive) {
  const std::string_view keys[] = {"k"};
  char buffer[8];
  Values values;
  Lookup<std::size_t> sizes[1] = {std::size_t{7}};
  const std::function<bool()> reads[] = {
      [&] { return store.get("k").found(); },
      [&] { return store.get("k", std::span<char>(buffer)).found(); },
      [&] { return store.get(store.prefetch("k"), std::span<char>(buffer)).found(); },
      [&] { return store.get_entry("k").found(); },
      [&] { return store.visit("k", [](std::string_view) {}).found(); },
      [&] { return store.hold("k").found(); },
      [&] { return *store.exists("k"); },
      [&] { return store.get_many(keys, values).ok() && values[0].found(); },
      [&] { return store.get_many(keys, buffer, sizeof(buffer), sizes).ok() && sizes[0].found(); },
      [&] {
        bool found = false;
        (void)store.visit_many(keys,
                               [&](std::size_t, Lookup<std::string_view> v) { found = v.found(); });
        return found;
      },
      [&] {
        return store
            .get_or_load("k",
                         [](std::string_view) {
                           return Loaded{Status::kNotFound, Value(), {}};
                         })
            .found();
      },
      [&] { return store.append("k", "x").ok(); },
      [&] { return store.set("k", "w", {.keep_ttl = true}).ok(); },
  };
  int i = 0;
  for (const auto& read : reads) {
    ASSERT_TRUE(store.set("k", "v", {.idle = 1s}));
    for (int n = 0; n != 20; ++n) {
      clock.advance(800ms);
      ASSERT_TRUE(read()) << "read " << i << " for the " << n << "th time";
      EXPECT_EQ(cleanup(), 0u);
    }
    clock.advance(1'020ms);
    EXPECT_EQ(value_of(store, "k"), std::nullopt) << "read " << i;
    EXPECT_EQ(cleanup(), 1u) << "read " << i;
    ++i;
  }
}

TEST_F(ExpiryTest, AnIdleTimeIsMovedOnByEighths) {
  ASSERT_TRUE(store.set("k", "v", {.idle = 800ms}));
  const milliseconds first = **store.ttl("k");
  clock.advance(90ms);
  EXPECT_EQ(value_of(store, "k"), "v");
  EXPECT_EQ(**store.ttl("k"), first - 90ms);
  clock.advance(20ms);
  EXPECT_EQ(value_of(store, "k"), "v");
  EXPECT_EQ(**store.ttl("k"), first);
  EXPECT_EQ(store.stats().tickets, 1u);
}

TEST_F(ExpiryTest, ALifetimeReplacesAnIdleTime) {
  ASSERT_TRUE(store.set("k", "v", {.idle = 1s}));
  ASSERT_TRUE(*store.expire("k", 5s));
  clock.advance(4'900ms);
  EXPECT_EQ(value_of(store, "k"), "v");
  clock.advance(100ms);
  EXPECT_EQ(cleanup(), 1u);
  ASSERT_TRUE(store.set("k", "v", {.idle = 1s}));
  ASSERT_TRUE(*store.persist("k"));
  clock.advance(1h);
  EXPECT_EQ(value_of(store, "k"), "v");
  ASSERT_TRUE(store.set("k", "w", {.idle = 1s}));
  ASSERT_TRUE(store.set("k", "x"));
  clock.advance(1h);
  EXPECT_EQ(value_of(store, "k"), "x");
}

TEST_F(ExpiryTest, AnIdleTimeOutOfItsRangeIsRefused) {
  for (const milliseconds idle : {0ms, -1ms, milliseconds::min()}) {
    EXPECT_EQ(store.set("k", "v", {.idle = idle}).error(),
              (Error{Status::kInvalidArgument, Field::kIdle}));
  }
  EXPECT_EQ(store.set("k", "v", {.idle = milliseconds::max()}).error(),
            (Error{Status::kOutOfRange, Field::kIdle}));
  EXPECT_EQ(store.set("k", "v", {.ttl = 1s, .idle = 1s}).error(),
            (Error{Status::kInvalidArgument, Field::kIdle}));
  EXPECT_EQ(store.set("k", "v", {.idle = 1s, .keep_ttl = true}).error(),
            (Error{Status::kInvalidArgument, Field::kIdle}));
  auto draft = store.allocate("k", 1);
  ASSERT_TRUE(draft);
  EXPECT_EQ(draft->publish({.idle = 1s}).error(), (Error{Status::kInvalidArgument, Field::kIdle}));
  EXPECT_EQ(store.stats().entries, 0u);
  const milliseconds longest(std::int64_t{127} << 31);
  ASSERT_TRUE(store.set("k", "v", {.idle = longest}));
  EXPECT_EQ(**store.ttl("k"), longest);
  EXPECT_EQ(store.set("k", "v", {.idle = longest + 1ms}).error(),
            (Error{Status::kOutOfRange, Field::kIdle}));
}

// --- no memory -----------------------------------------------------------------------------------

TEST_F(ExpiryTest, WithoutMemoryForTheWheelADeadlineHolds) {
  Options o = small_options(&clock);
  o.memory_bytes = 4 * kMiB;
  o.eviction = false;
  const Store full = open_or_fail(o);
  // The wheel's levels are there; it is their positions that find no memory.
  for (const milliseconds ttl : {1ms, 100ms, 10'000ms, 100'000ms}) {
    ASSERT_TRUE(full.set(std::to_string(ttl.count()), "v", {.ttl = ttl}));
    ASSERT_TRUE(*full.del(std::to_string(ttl.count())));
  }
  // Written without a lifetime until nothing fits, then given one in place: a draft's record has
  // the word for it.
  unsigned count = 0;
  for (;; ++count) {
    auto draft = full.allocate(numbered("k", count), 24);
    if (!draft || !draft->publish()) break;
  }
  ASSERT_GT(count, 10'000u);
  for (unsigned n = 0; n != count; ++n)
    ASSERT_TRUE(*full.expire(numbered("k", n), milliseconds(1'000 + n)));
  EXPECT_LT(full.stats().tickets, count)
      << "the wheel found memory for all, and the test tests nothing";
  EXPECT_EQ(full.stats().expiring, count);
  EXPECT_TRUE(whole(full));
  clock.advance(1s + 100ms);
  for (unsigned n = 0; n != count; ++n) ASSERT_EQ(full.get(numbered("k", n)).found(), n > 100) << n;
  // Nobody tells the wheel, but maintenance goes over the buckets: what is past leaves, the rest
  // gets its ticket.
  EXPECT_EQ(*full.cleanup_expired(), 101u);
  clock.advance(milliseconds(count / 2));
  EXPECT_GT(*full.cleanup_expired(), 0u);
  for (int n = 0; n != 20; ++n) ASSERT_TRUE(full.tick(10ms));
  EXPECT_GE(full.stats().tickets, full.stats().expiring);
  EXPECT_LE(full.stats().tickets, full.stats().expiring + 4);  // of the four that were deleted
  EXPECT_TRUE(whole(full));
  clock.advance(milliseconds(count));
  EXPECT_GT(*full.cleanup_expired(), 0u);
  EXPECT_EQ(full.stats().entries, 0u);
}

TEST_F(ExpiryTest, ACallAfterCloseSaysSo) {
  store.close();
  EXPECT_EQ(store.cleanup_expired().status(), Status::kClosed);
}

TEST_F(ExpiryTest, WhatATickRemovesIsHandedOutBeforeItReturns) {
  unsigned told = 0;
  Options options = small_options(&clock);
  options.on_removed = [](void* user, std::string_view, std::string_view, RemovalCause cause) {
    *static_cast<unsigned*>(user) += cause == RemovalCause::kExpired;
  };
  options.on_removed_user = &told;
  const Store own = open_or_fail(options);
  for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(own.set(numbered("k", i), "v", {.ttl = 1s}));
  clock.advance(2s);
  ASSERT_TRUE(own.tick(10s));
  EXPECT_EQ(told, 10u);
  ASSERT_TRUE(own.set("k", "v", {.ttl = 1s}));
  clock.advance(2s);
  EXPECT_EQ(*own.cleanup_expired(), 1u);
  EXPECT_EQ(told, 11u);
}

}  // namespace
}  // namespace tern::test
