// Lifetimes, with a clock that moves when told.
#include <tern/store.h>

#include <chrono>
#include <optional>
#include <string>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class LifetimeTest : public StoreTest {
 protected:
  std::optional<milliseconds> remaining(std::string_view key) {
    const auto r = store.ttl(key);
    EXPECT_TRUE(r.found()) << testing::PrintToString(r.error());
    return *r;
  }
};

TEST_F(LifetimeTest, ExpiredKeyIsNotFound) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 100ms}));
  clock.advance(99ms);
  EXPECT_EQ(value_of(store, "k"), "v");
  EXPECT_EQ(remaining("k"), 1ms);
  clock.advance(1ms);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

TEST_F(LifetimeTest, EveryReadMissesFromTheInstantOn) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 1ms}));
  EXPECT_EQ(value_of(store, "k"), "v");
  clock.advance(1ms);
  char buffer[8];
  const std::string_view keys[] = {"k"};
  Values values;
  Lookup<std::size_t> sizes[1] = {std::size_t{7}};
  EXPECT_TRUE(store.get("k").missing());
  EXPECT_TRUE(store.get("k", std::span<char>(buffer)).missing());
  EXPECT_TRUE(store.get(store.prefetch("k"), std::span<char>(buffer)).missing());
  EXPECT_TRUE(store.get_entry("k").missing());
  EXPECT_TRUE(store.ttl("k").missing());
  EXPECT_TRUE(store.hold("k").missing());
  EXPECT_TRUE(store.visit("k", [](std::string_view) { ADD_FAILURE(); }).missing());
  EXPECT_FALSE(*store.exists("k"));
  ASSERT_TRUE(store.get_many(keys, values));
  EXPECT_TRUE(values[0].missing());
  ASSERT_TRUE(store.get_many_at_one_moment(keys, values));
  EXPECT_TRUE(values[0].missing());
  ASSERT_TRUE(store.get_many(keys, buffer, sizeof(buffer), sizes));
  EXPECT_TRUE(sizes[0].missing());
  ASSERT_TRUE(store.visit_many(
      keys, [](std::size_t, Lookup<std::string_view> v) { EXPECT_TRUE(v.missing()); }));
  EXPECT_FALSE(*store.persist("k"));
  EXPECT_FALSE(*store.expire("k", 5s));
  EXPECT_FALSE(*store.del("k"));
}

TEST_F(LifetimeTest, TimeThatStandsStillExpiresNothing) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 1ms}));
  for (int i = 0; i < 1'000; ++i) ASSERT_EQ(value_of(store, "k"), "v");
  ASSERT_TRUE(store.tick(1ms));
  EXPECT_EQ(value_of(store, "k"), "v");
}

TEST_F(LifetimeTest, ALifetimeOfNothingOrLessIsRefused) {
  ASSERT_TRUE(store.set("k", "v"));
  for (const milliseconds ttl : {0ms, -1ms, milliseconds::min()}) {
    const Result<std::uint64_t> r = store.set("k", "w", {.ttl = ttl});
    EXPECT_EQ(r.error(), (Error{Status::kInvalidArgument, Field::kTtl})) << ttl.count();
    EXPECT_EQ(store.set_nx("new", "w", {.ttl = ttl}).error(),
              (Error{Status::kInvalidArgument, Field::kTtl}));
  }
  EXPECT_EQ(value_of(store, "k"), "v");
  EXPECT_EQ(value_of(store, "new"), std::nullopt);
}

TEST_F(LifetimeTest, ALifetimePastTheRangeIsRefused) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 100ms}));
  const milliseconds years_300 = std::chrono::hours(24) * 365 * 300;
  for (const milliseconds ttl : {years_300, milliseconds::max(), milliseconds::max() - 1ms}) {
    EXPECT_EQ(store.set("k", "w", {.ttl = ttl}).error(), (Error{Status::kOutOfRange, Field::kTtl}));
    EXPECT_EQ(store.expire("k", ttl).error(), (Error{Status::kOutOfRange, Field::kTtl}));
  }
  EXPECT_EQ(store.expire_at("k", milliseconds::max()).status(), Status::kOutOfRange);
  EXPECT_EQ(value_of(store, "k"), "v");
  EXPECT_EQ(remaining("k"), 100ms);
}

TEST_F(LifetimeTest, TheLongestLifetimeWorks) {
  const milliseconds longest = std::chrono::hours(24) * 365 * 139;
  ASSERT_TRUE(store.set("k", "v", {.ttl = longest}));
  EXPECT_EQ(remaining("k"), longest);
  clock.advance(longest - 1ms);
  EXPECT_EQ(value_of(store, "k"), "v");
  clock.advance(1ms);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

TEST_F(LifetimeTest, LifetimesAroundEveryPowerOfTwoEndToTheInstant) {
  for (unsigned power = 0; power <= 41; ++power) {
    for (const std::int64_t delta : {-1, 0, 1}) {
      const std::int64_t ttl = (std::int64_t{1} << power) + delta;
      if (ttl <= 0) continue;
      ManualClock own;
      const Store s = open_or_fail(small_options(&own));
      ASSERT_TRUE(s.set("k", "v", {.ttl = milliseconds(ttl)}));
      ASSERT_EQ(*s.ttl("k"), milliseconds(ttl));
      own.advance(milliseconds(ttl - 1));
      ASSERT_EQ(value_of(s, "k"), "v") << ttl;
      own.advance(1ms);
      ASSERT_EQ(value_of(s, "k"), std::nullopt) << ttl;
    }
  }
}

TEST_F(LifetimeTest, SetClearsTheLifetime) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 100ms}));
  ASSERT_TRUE(store.set("k", "w"));
  EXPECT_EQ(remaining("k"), std::nullopt);
  clock.advance(1h);
  EXPECT_EQ(value_of(store, "k"), "w");
}

TEST_F(LifetimeTest, SetWithAnotherLifetimeReplacesIt) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 100ms}));
  clock.advance(50ms);
  ASSERT_TRUE(store.set("k", "w", {.ttl = 80ms}));
  EXPECT_EQ(remaining("k"), 80ms);
  clock.advance(79ms);
  EXPECT_EQ(value_of(store, "k"), "w");
}

TEST_F(LifetimeTest, KeepTtlKeepsTheDeadline) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 100ms}));
  clock.advance(40ms);
  ASSERT_TRUE(store.set("k", "longer than before", {.keep_ttl = true}));
  EXPECT_EQ(remaining("k"), 60ms);
  ASSERT_TRUE(store.set("none", "v"));
  ASSERT_TRUE(store.set("none", "w", {.keep_ttl = true}));
  EXPECT_EQ(remaining("none"), std::nullopt);
  ASSERT_TRUE(store.set("missing", "v", {.keep_ttl = true}));
  EXPECT_EQ(remaining("missing"), std::nullopt);
}

TEST_F(LifetimeTest, KeepTtlOfAnExpiredKeyKeepsNothing) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 10ms}));
  clock.advance(10ms);
  ASSERT_TRUE(store.set("k", "w", {.keep_ttl = true}));
  EXPECT_EQ(value_of(store, "k"), "w");
  EXPECT_EQ(remaining("k"), std::nullopt);
}

TEST_F(LifetimeTest, ExpireGivesADeadlineAndMovesIt) {
  EXPECT_FALSE(*store.expire("k", 1s));
  ASSERT_TRUE(store.set("k", "v"));
  EXPECT_TRUE(*store.expire("k", 100ms));
  EXPECT_EQ(remaining("k"), 100ms);
  clock.advance(50ms);
  EXPECT_TRUE(*store.expire("k", 200ms));
  EXPECT_EQ(remaining("k"), 200ms);
  EXPECT_TRUE(*store.expire("k", 10ms));
  EXPECT_EQ(remaining("k"), 10ms);
  EXPECT_EQ(value_of(store, "k"), "v");
  clock.advance(10ms);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

TEST_F(LifetimeTest, ExpireByNothingOrLessRemoves) {
  for (const milliseconds ttl : {0ms, -1ms, milliseconds::min()}) {
    ASSERT_TRUE(store.set("plain", "v"));
    ASSERT_TRUE(store.set("with deadline", "v", {.ttl = 1s}));
    EXPECT_TRUE(*store.expire("plain", ttl));
    EXPECT_TRUE(*store.expire("with deadline", ttl));
    EXPECT_FALSE(*store.expire("plain", ttl));
    EXPECT_EQ(value_of(store, "plain"), std::nullopt);
    EXPECT_EQ(value_of(store, "with deadline"), std::nullopt);
  }
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(LifetimeTest, ExpireAtTakesAnInstantOfTheStoresClock) {
  EXPECT_FALSE(*store.expire_at("k", clock.now() + 1s));
  ASSERT_TRUE(store.set("k", "v"));
  EXPECT_TRUE(*store.expire_at("k", clock.now() + 30ms));
  EXPECT_EQ(remaining("k"), 30ms);
  clock.advance(30ms);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

TEST_F(LifetimeTest, ExpireAtAnInstantThatHasPassedRemoves) {
  for (const milliseconds at : {clock.now(), clock.now() - 1ms, 0ms, -1ms, milliseconds::min()}) {
    ASSERT_TRUE(store.set("k", "v"));
    EXPECT_TRUE(*store.expire_at("k", at)) << at.count();
    EXPECT_EQ(value_of(store, "k"), std::nullopt);
  }
}

TEST_F(LifetimeTest, PersistTakesTheDeadlineAway) {
  EXPECT_FALSE(*store.persist("k"));
  ASSERT_TRUE(store.set("k", "v"));
  EXPECT_FALSE(*store.persist("k"));
  ASSERT_TRUE(store.expire("k", 50ms));
  EXPECT_TRUE(*store.persist("k"));
  EXPECT_FALSE(*store.persist("k"));
  EXPECT_EQ(remaining("k"), std::nullopt);
  clock.advance(1h);
  EXPECT_EQ(value_of(store, "k"), "v");
}

TEST_F(LifetimeTest, ADeadlineAddedToALongValueKeepsTheValue) {
  for (const std::size_t size : {0u, 1u, 64u, 231u, 232u, 233u, 70'000u, 300'000u}) {
    const std::string value = pattern(size);
    ASSERT_TRUE(store.set("k", value));
    ASSERT_TRUE(*store.expire("k", 50ms));
    ASSERT_EQ(value_of(store, "k"), value) << size;
    ASSERT_TRUE(*store.persist("k"));
    ASSERT_EQ(value_of(store, "k"), value) << size;
  }
}

TEST_F(LifetimeTest, VersionsNeverFallWhenDeadlinesMove) {
  ASSERT_TRUE(store.set("k", "v"));
  std::uint64_t last = store.get_entry("k")->version;
  for (int i = 0; i < 20; ++i) {
    if (i % 3 == 2) {
      ASSERT_TRUE(store.persist("k"));
    } else {
      ASSERT_TRUE(store.expire("k", 1s));
    }
    const std::uint64_t now = store.get_entry("k")->version;
    EXPECT_GE(now, last);
    last = now;
  }
}

TEST_F(LifetimeTest, InspectAndEntryTellTheSameLifetime) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 80ms}));
  clock.advance(30ms);
  EXPECT_EQ(store.get_entry("k")->ttl, 50ms);
  EXPECT_EQ(store.inspect("k")->ttl, 50ms);
}

TEST_F(LifetimeTest, ExpiredEntriesDontComeBackWithGrowth) {
  for (unsigned i = 0; i < 2'000; ++i) {
    ASSERT_TRUE(store.set(numbered("brief", i), "v", {.ttl = 10ms}));
  }
  clock.advance(10ms);
  for (unsigned i = 0; i < 10'000; ++i) ASSERT_TRUE(store.set(numbered("lasting", i), "v"));
  for (unsigned i = 0; i < 2'000; ++i) {
    ASSERT_EQ(value_of(store, numbered("brief", i)), std::nullopt);
  }
}

TEST_F(LifetimeTest, WritesCountWhatTheyMetExpired) {
  for (unsigned i = 0; i < 100; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v", {.ttl = 10ms}));
  const std::uint64_t before = store.stats().expired;
  clock.advance(10ms);
  for (unsigned i = 0; i < 100; ++i) ASSERT_TRUE(store.set(numbered("k", i), "w"));
  EXPECT_EQ(store.stats().expired - before, 100u);
}

// The default clock: no sleep, so only what holds at any speed.
TEST(DefaultClockTest, ALongLifetimeIsStillThereAndCountsDown) {
  const Store store = open_or_fail(small_options());
  ASSERT_TRUE(store.set("k", "v", {.ttl = 1h}));
  const auto r = store.ttl("k");
  ASSERT_TRUE(r);
  ASSERT_TRUE(r->has_value());
  EXPECT_LE(**r, 1h);
  EXPECT_GT(**r, 50min);
  EXPECT_EQ(value_of(store, "k"), "v");
}

}  // namespace
}  // namespace tern::test
