// clear and del_prefix: many keys gone at one moment, in work that doesn't depend on how many they are; swept afterwards.
#include <tern/store.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

std::uint64_t clear_or_fail(const Store& store) {
  const Result<std::uint64_t> r = store.clear();
  EXPECT_TRUE(r) << testing::PrintToString(r.error());
  return r ? *r : 0;
}
std::uint64_t del_prefix_or_fail(const Store& store, std::string_view prefix) {
  const Result<std::uint64_t> r = store.del_prefix(prefix);
  EXPECT_TRUE(r) << testing::PrintToString(r.error());
  return r ? *r : 0;
}

// Until nothing of any clear is owed. A bound in ticks, not in time: a slice is done in each whatever the clock says.
void sweep(const Store& store) {
  for (int n = 0; n != 100'000 && store.stats().owed.invalidations != 0; ++n) ASSERT_TRUE(store.tick(milliseconds(1)));
  ASSERT_EQ(store.stats().owed.invalidations, 0u);
}

void fill(const Store& store, std::string_view prefix, unsigned count) {
  for (unsigned i = 0; i != count; ++i) ASSERT_TRUE(store.set(numbered(prefix, i), numbered("value-", i)));
}

std::uint64_t count_of(const Store& store, std::uint64_t id) {
  const Lookup<Invalidated> r = store.invalidated(id);
  EXPECT_TRUE(r) << testing::PrintToString(r.error());
  return r ? r->entries : 0;
}

std::map<std::string, std::string> walked(const View& view) {
  std::map<std::string, std::string> all;
  EXPECT_TRUE(view.for_each([&](std::string_view key, std::string_view value) { return all.emplace(key, value).second; }));
  return all;
}

using ClearTest = StoreTest;

// By every way of reading, while nothing is swept.
void expect_absent(const Store& store, const std::string& key) {
  char buffer[256];
  Values values;
  const std::string_view keys[] = {key};
  Lookup<std::size_t> size[1];
  ASSERT_TRUE(store.get(key).missing()) << key;
  ASSERT_TRUE(store.get(key, std::span<char>(buffer)).missing());
  ASSERT_TRUE(store.get(store.prefetch(key), std::span<char>(buffer)).missing());
  ASSERT_TRUE(store.get_entry(key).missing());
  ASSERT_TRUE(store.hold(key).missing());
  ASSERT_TRUE(store.visit(key, [](std::string_view) { FAIL(); }).missing());
  ASSERT_TRUE(store.ttl(key).missing());
  ASSERT_FALSE(*store.exists(key));
  ASSERT_TRUE(store.get_many(keys, values));
  ASSERT_TRUE(values[0].missing());
  ASSERT_TRUE(store.get_many_at_one_moment(keys, values));
  ASSERT_TRUE(values[0].missing());
  ASSERT_TRUE(store.get_many(keys, buffer, sizeof buffer, size));
  ASSERT_TRUE(size[0].missing());
  ASSERT_TRUE(store.visit_many(keys, [](std::size_t, Lookup<std::string_view> v) { ASSERT_TRUE(v.missing()); }));
  ASSERT_TRUE(store.memory_usage(key).missing());
  ASSERT_TRUE(store.inspect(key).missing());
  const auto view = store.view();
  ASSERT_TRUE(view);
  ASSERT_TRUE(view->get(key).missing());
  ASSERT_FALSE(*view->exists(key));
  ASSERT_TRUE(view->get_many(keys, values));
  ASSERT_TRUE(values[0].missing());
}

TEST_F(ClearTest, EveryReadMissesAtOnceAndOneThatIsSetAgainIsThere) {
  fill(store, "k", 100);
  const std::string long_key = pattern(300, 7), longest = pattern(kKeyBytesMax, 9);
  ASSERT_TRUE(store.set(long_key, "v"));
  ASSERT_TRUE(store.set(longest, "v"));
  ASSERT_TRUE(store.set("large", pattern(300'000, 3)));
  clear_or_fail(store);
  EXPECT_EQ(store.stats().entries, 103u);  // not swept yet
  for (unsigned i = 0; i != 100; ++i) expect_absent(store, numbered("k", i));
  for (const std::string& key : {long_key, longest, std::string("large")}) expect_absent(store, key);
  auto view = store.view();
  EXPECT_EQ(*view->size(), 0u);
  EXPECT_TRUE(walked(*view).empty());
  ASSERT_TRUE(store.set("k5", "new"));
  EXPECT_EQ(value_of(store, "k5"), "new");
  EXPECT_EQ(value_of(*view, "k5"), std::nullopt);
  view->close();
  sweep(store);
  EXPECT_EQ(store.stats().entries, 1u);
  EXPECT_EQ(value_of(store, "k5"), "new");
}

TEST_F(ClearTest, AnEmptyStoreCanBeCleared) {
  const std::uint64_t id = clear_or_fail(store);
  sweep(store);
  EXPECT_TRUE(store.invalidated(id)->done);
  EXPECT_EQ(count_of(store, id), 0u);
}

TEST_F(ClearTest, TheCountIsKnownWhenItIsSwept) {
  fill(store, "a", 1000);
  const std::uint64_t first = clear_or_fail(store);
  EXPECT_FALSE(store.invalidated(first)->done);
  EXPECT_EQ(count_of(store, first), 0u);
  fill(store, "b", 500);
  const std::uint64_t second = clear_or_fail(store);
  EXPECT_GT(second, first);
  sweep(store);
  EXPECT_TRUE(store.invalidated(first)->done);
  EXPECT_TRUE(store.invalidated(second)->done);
  EXPECT_EQ(count_of(store, first), 1000u);
  EXPECT_EQ(count_of(store, second), 500u);
  EXPECT_EQ(store.stats().cleared, 1500u);
  EXPECT_TRUE(store.invalidated(0).missing());
  EXPECT_TRUE(store.invalidated(first + 1'000'000).missing());
}

TEST_F(ClearTest, WritesTakeWhatIsDeadForAbsent) {
  std::map<std::string, std::uint64_t> version;
  const char* const keys[] = {"nx", "present", "cas", "casv", "cdel", "del", "gdel", "gset", "inc", "incf", "app", "upd",
                              "exp", "per", "ifv", "ttl", "batch", "batch_cond"};
  for (const char* key : keys) {
    version[key] = *store.set(key, "7", SetOptions{.ttl = 1h});
  }
  clear_or_fail(store);
  EXPECT_EQ(store.set("present", "x", SetOptions{.if_present = true}).status(), Status::kNotFound);
  EXPECT_EQ(store.set("ifv", "x", SetOptions{.if_version = version["ifv"]}).status(), Status::kMismatch);
  EXPECT_FALSE(*store.compare_and_swap("cas", "7", "8"));
  EXPECT_FALSE(*store.compare_and_swap_version("casv", version["casv"], "8"));
  EXPECT_FALSE(*store.compare_and_delete("cdel", "7"));
  EXPECT_FALSE(*store.del("del"));
  EXPECT_TRUE(store.get_and_del("gdel").missing());
  EXPECT_TRUE(store.get_and_set("gset", "new").missing());
  EXPECT_EQ(*store.increment("inc", 1, 100), 101);
  EXPECT_EQ(*store.increment_float("incf", 0.5, 100), 100.5);
  EXPECT_EQ(*store.append("app", "tail"), 4u);
  EXPECT_EQ(*store.update("upd", [](std::optional<std::string_view> v) {
    EXPECT_FALSE(v.has_value());
    return Update::replace("fresh");
  }), Update::Kind::kReplace);
  EXPECT_FALSE(*store.expire("exp", 1h));
  EXPECT_FALSE(*store.persist("per"));
  EXPECT_TRUE(*store.set_nx("nx", "new"));
  ASSERT_TRUE(store.set("ttl", "x", SetOptions{.keep_ttl = true}));
  EXPECT_FALSE(store.ttl("ttl")->has_value());
  WriteBatch wrong;
  wrong.require_present("batch_cond");
  wrong.set("batch", "x");
  EXPECT_EQ(store.write(wrong).status(), Status::kConflict);
  WriteBatch right;
  right.require_absent("batch_cond");
  right.set("batch", "x", SetOptions{.keep_ttl = true});
  EXPECT_TRUE(store.write(right));
  EXPECT_FALSE(store.ttl("batch")->has_value());
  EXPECT_GT(store.get_entry("nx")->version, version["nx"]);
  EXPECT_GT(right.version(1), version["batch"]);
  EXPECT_EQ(store.stats().deletes, 0u);
  for (const char* key : {"present", "cas", "casv", "cdel", "del", "gdel", "exp", "per", "ifv"}) {
    EXPECT_EQ(value_of(store, key), std::nullopt) << key;
  }
  sweep(store);
  EXPECT_EQ(store.stats().expiring, 0u);
  EXPECT_EQ(store.stats().cleared, std::size(keys));
}

TEST_F(ClearTest, AViewOpenedBeforeKeepsWhatItSaw) {
  fill(store, "k", 300);
  auto before = store.view();
  clear_or_fail(store);
  auto between = store.view();
  fill(store, "k", 10);
  auto after = store.view();
  for (int pass = 0; pass != 3; ++pass) {
    EXPECT_EQ(*before->size(), 300u);
    EXPECT_EQ(value_of(*before, "k7"), "value-7");
    EXPECT_EQ(*between->size(), 0u);
    EXPECT_EQ(value_of(*between, "k7"), std::nullopt);
    EXPECT_EQ(*after->size(), 10u);
    if (pass == 0) {
      for (int n = 0; n != 200; ++n) ASSERT_TRUE(store.tick(milliseconds(1)));
    } else {
      fill(store, "k", 20);
    }
  }
  before->close();
  between->close();
  after->close();
  sweep(store);
  while (store.tick(milliseconds(1))->shards_with_kept_keys != 0) {
  }
  EXPECT_EQ(store.stats().kept_versions, 0u);
}

TEST_F(ClearTest, APrefixTakesItsKeysAlone) {
  fill(store, "user:1:", 50);
  fill(store, "user:2:", 50);
  ASSERT_TRUE(store.set("user:1:", "the prefix itself"));
  ASSERT_TRUE(store.set("user:1", "shorter"));
  const std::string deep = "user:1:" + pattern(400, 1);
  ASSERT_TRUE(store.set(deep, "long"));
  const std::uint64_t id = del_prefix_or_fail(store, "user:1:");
  expect_absent(store, "user:1:");
  expect_absent(store, deep);
  for (unsigned i = 0; i != 50; ++i) {
    expect_absent(store, numbered("user:1:", i));
    EXPECT_EQ(value_of(store, numbered("user:2:", i)), numbered("value-", i));
  }
  EXPECT_EQ(value_of(store, "user:1"), "shorter");
  EXPECT_EQ(*store.view()->size(), 51u);
  sweep(store);
  EXPECT_EQ(count_of(store, id), 52u);
  EXPECT_EQ(store.stats().entries, 51u);
}

TEST_F(ClearTest, AnyBytesAreAPrefixAndAnEmptyOneIsEverything) {
  using namespace std::literals;
  ASSERT_TRUE(store.set("\0a"sv, "1"));
  ASSERT_TRUE(store.set("\0\0b"sv, "2"));
  ASSERT_TRUE(store.set("\xff", "3"));
  del_prefix_or_fail(store, "\0\0"sv);
  EXPECT_EQ(value_of(store, "\0a"sv), "1");
  EXPECT_EQ(value_of(store, "\0\0b"sv), std::nullopt);
  const std::string longest = pattern(kKeyBytesMax, 4);
  ASSERT_TRUE(store.set(longest, "4"));
  del_prefix_or_fail(store, longest);
  EXPECT_EQ(value_of(store, longest), std::nullopt);
  EXPECT_EQ(store.del_prefix(std::string(kKeyBytesMax + 1, 'x')).error(), (Error{Status::kTooLarge, Field::kKey}));
  del_prefix_or_fail(store, "");
  EXPECT_EQ(value_of(store, "\xff"), std::nullopt);
  sweep(store);
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(ClearTest, HundredsAtOnceAreSweptByTheCallsThemselves) {
  std::vector<std::uint64_t> ids;
  for (unsigned round = 0; round != 300; ++round) {
    const std::string prefix = numbered("p", round) + ":";
    fill(store, prefix, 5);
    ids.push_back(del_prefix_or_fail(store, prefix));
    ASSERT_LE(store.stats().owed.invalidations, 64u);
    expect_absent(store, prefix + "3");
  }
  sweep(store);
  for (std::size_t i = ids.size() - 200; i != ids.size(); ++i) EXPECT_EQ(count_of(store, ids[i]), 5u);
  EXPECT_TRUE(store.invalidated(ids.front()).missing());  // of the last 256 alone
  EXPECT_EQ(store.stats().cleared, 1500u);
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(ClearTest, AViewThatHoldsBackAllPointsIsEnded) {
  fill(store, "k", 1000);
  for (unsigned i = 0; i != 64; ++i) clear_or_fail(store);  // none of them is swept: nothing is written
  ASSERT_EQ(store.stats().owed.invalidations, 64u);
  auto view = store.view();
  ASSERT_TRUE(view);
  ASSERT_TRUE(store.clear());
  EXPECT_FALSE(view->is_open());
  view->close();
  sweep(store);
}

TEST_F(ClearTest, WritesAloneSweepInTime) {
  fill(store, "k", 5000);
  const std::uint64_t id = clear_or_fail(store);
  for (unsigned i = 0; i != 20'000 && !store.invalidated(id)->done; ++i) ASSERT_TRUE(store.set(numbered("new", i % 100), "v"));
  EXPECT_TRUE(store.invalidated(id)->done);
  EXPECT_EQ(count_of(store, id), 5000u);
  EXPECT_EQ(store.stats().entries, 100u);
}

TEST_F(ClearTest, TheTableMayGrowMeanwhile) {
  fill(store, "old", 2000);
  const std::uint64_t id = clear_or_fail(store);
  for (unsigned i = 0; i != 20'000; ++i) {
    ASSERT_TRUE(store.set(numbered("new", i), "v"));
    if (i % 100 == 0) expect_absent(store, numbered("old", i % 2000));
  }
  sweep(store);
  EXPECT_EQ(count_of(store, id), 2000u);
  EXPECT_EQ(store.stats().entries, 20'000u);
  EXPECT_EQ(*store.view()->size(), 20'000u);
}

TEST_F(ClearTest, WhatHasExpiredCountsAsExpired) {
  ASSERT_TRUE(store.set("short", "v", SetOptions{.ttl = 10ms}));
  ASSERT_TRUE(store.set("long", "v", SetOptions{.ttl = 1h}));
  clock.advance(1s);
  const std::uint64_t id = clear_or_fail(store);
  sweep(store);
  EXPECT_EQ(count_of(store, id), 1u);
  EXPECT_EQ(store.stats().expired, 1u);
  EXPECT_EQ(store.stats().expiring, 0u);
}

TEST_F(ClearTest, WhatALoaderSaidIsForgotten) {
  unsigned loads = 0;
  const auto absent = [&](std::string_view) {
    ++loads;
    return Loaded{Status::kNotFound, {}, {}};
  };
  const auto value = [&](std::string_view) {
    ++loads;
    return Loaded{Status::kOk, Value("v"), milliseconds(10)};
  };
  const LoadOptions options{.negative_ttl = 1h, .stale = 1h};
  EXPECT_TRUE(store.get_or_load("gone", absent, options).missing());
  EXPECT_TRUE(store.get_or_load("gone", absent, options).missing());
  EXPECT_TRUE(store.get_or_load("there", value, options));
  EXPECT_EQ(loads, 2u);
  clock.advance(100ms);  // "there" is stale now
  const std::uint64_t id = clear_or_fail(store);
  EXPECT_TRUE(store.get_or_load("gone", absent, options).missing());
  EXPECT_EQ(loads, 3u);
  EXPECT_EQ(store.get_or_load("there", [&](std::string_view) { return Loaded{Status::kOk, Value("anew"), {}}; }, options)->view(), "anew");
  sweep(store);
  EXPECT_EQ(count_of(store, id), 0u);  // what has expired isn't its, nor what was no entry
}

TEST_F(ClearTest, HeldValuesAndDraftsOutliveIt) {
  ASSERT_TRUE(store.set("held", "mine"));
  const auto held = store.hold("held");
  auto draft = store.allocate("draft", 4);
  ASSERT_TRUE(draft);
  std::ranges::copy(std::string_view("late"), draft->bytes().begin());
  clear_or_fail(store);
  expect_absent(store, "held");
  sweep(store);
  EXPECT_EQ(held->view(), "mine");
  ASSERT_TRUE(draft->publish());
  EXPECT_EQ(value_of(store, "draft"), "late");
}

TEST_F(ClearTest, ACallbackOfAVisitMayClear) {
  fill(store, "k", 200);
  ASSERT_TRUE(store.visit("k1", [&](std::string_view value) {
    clear_or_fail(store);
    for (int n = 0; n != 100; ++n) ASSERT_TRUE(store.tick(milliseconds(1)));
    EXPECT_EQ(value, "value-1");
    expect_absent(store, "k1");
  }));
  sweep(store);
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(ClearTest, AClosedStoreSaysSo) {
  store.close();
  EXPECT_EQ(store.clear().status(), Status::kClosed);
  EXPECT_EQ(store.del_prefix("x").status(), Status::kClosed);
  EXPECT_EQ(store.del_tag("x").status(), Status::kClosed);
  EXPECT_EQ(store.invalidated(1).error().status, Status::kClosed);
}

struct Told {
  std::map<std::string, unsigned> times;
  std::map<RemovalCause, unsigned> causes;
  static void hear(void* user, std::string_view key, std::string_view value, RemovalCause cause) {
    Told& told = *static_cast<Told*>(user);
    ++told.times[std::string(key)];
    ++told.causes[cause];
    EXPECT_FALSE(value.empty());
  }
};

TEST(ClearRemovalsTest, EachEntryIsToldOfOnce) {
  Told told;
  ManualClock clock;
  Options options = small_options(&clock);
  options.on_removed = &Told::hear;
  options.on_removed_user = &told;
  const Store store = open_or_fail(options);
  fill(store, "k", 1000);
  clear_or_fail(store);
  EXPECT_TRUE(told.times.empty());
  ASSERT_TRUE(store.set("k1", "new"));  // buries the old one
  ASSERT_FALSE(*store.del("k2"));
  sweep(store);
  EXPECT_EQ(told.times.size(), 1000u);
  for (const auto& [key, times] : told.times) EXPECT_EQ(times, 1u) << key;
  EXPECT_EQ(told.causes[RemovalCause::kCleared], 1000u);
  EXPECT_EQ(value_of(store, "k1"), "new");
  EXPECT_TRUE(whole(store));
}

// A full store that was cleared has room for everything, whether or not anybody ticks.
TEST(ClearFullTest, ABoundOnEntriesIsFreeAgain) {
  ManualClock clock;
  for (const bool eviction : {false, true}) {
    Options options = small_options(&clock);
    options.entries_max = 1000;
    options.eviction = eviction;
    const Store store = open_or_fail(options);
    fill(store, "a", 1000);
    if (!eviction) {
      EXPECT_EQ(store.set("one more", "v").status(), Status::kOutOfMemory);
    }
    clear_or_fail(store);
    fill(store, "b", 1000);
    for (unsigned i = 0; i != 1000; ++i) EXPECT_EQ(value_of(store, numbered("b", i)), numbered("value-", i)) << eviction;
    EXPECT_EQ(store.stats().evicted, 0u);
    sweep(store);
    EXPECT_EQ(store.stats().entries, 1000u);
    EXPECT_TRUE(whole(store));
  }
}

TEST(ClearFullTest, TheBudgetIsFreeAgain) {
  ManualClock clock;
  for (const bool eviction : {false, true}) {
    Options options = small_options(&clock);
    options.memory_bytes = 4 * kMiB;
    options.eviction = eviction;
    const Store store = open_or_fail(options);
    const std::string value = pattern(1000);
    unsigned count = 0;
    if (eviction) {
      for (; count != 6000; ++count) ASSERT_TRUE(store.set(numbered("a", count), value));
    } else {
      while (store.set(numbered("a", count), value)) ++count;
    }
    const std::uint64_t evicted = store.stats().evicted;
    const std::uint64_t entries = store.stats().entries;
    for (unsigned round = 0; round != 3; ++round) {
      clear_or_fail(store);
      const unsigned again = static_cast<unsigned>(entries / 2);
      for (unsigned i = 0; i != again; ++i) ASSERT_TRUE(store.set(numbered("b", i), value)) << round << " " << i;
      unsigned there = 0;
      for (unsigned i = 0; i != again; ++i) there += value_of(store, numbered("b", i)).has_value();
      EXPECT_EQ(there, again) << "what was set after the clear went before what it had killed";
    }
    EXPECT_EQ(store.stats().evicted, evicted);
    sweep(store);
    EXPECT_TRUE(whole(store));
  }
}

}  // namespace
}  // namespace tern::test
