// write(batch) edge by edge: what it answers, what it changes, and that it changes nothing when it fails.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class BatchTest : public StoreTest {
 protected:
  // What a refused batch must leave as it was.
  std::vector<std::optional<std::string>> all(std::initializer_list<std::string_view> keys) {
    std::vector<std::optional<std::string>> values;
    for (std::string_view key : keys) values.push_back(value_of(store, key));
    return values;
  }
  std::uint64_t version_of(std::string_view key) {
    const auto e = store.get_entry(key);
    return e ? e->version : 0;
  }
  WriteBatch batch;
};

TEST_F(BatchTest, SetsAndDeletesTogether) {
  ASSERT_TRUE(store.set("old", "1"));
  batch.set("a", "x");
  batch.set("b", "");
  batch.del("old");
  batch.del("never");
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(value_of(store, "a"), "x");
  EXPECT_EQ(value_of(store, "b"), "");
  EXPECT_EQ(value_of(store, "old"), std::nullopt);
  EXPECT_EQ(value_of(store, "never"), std::nullopt);
  EXPECT_EQ(batch.version(0), version_of("a"));
  EXPECT_EQ(batch.version(1), version_of("b"));
  EXPECT_EQ(batch.version(2), 0u);
  EXPECT_EQ(batch.failed(), batch.size());
  EXPECT_EQ(store.stats().entries, 2u);
  EXPECT_EQ(store.stats().sets, 3u);
  EXPECT_EQ(store.stats().deletes, 1u);
}

TEST_F(BatchTest, AnEmptyOneIsDone) {
  EXPECT_TRUE(store.write(batch));
  EXPECT_TRUE(batch.empty());
}

TEST_F(BatchTest, OfOneKeyTheLastWriteCounts) {
  batch.set("k", "1");
  batch.del("k");
  batch.set("k", "2");
  batch.set("gone", "1");
  batch.del("gone");
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(value_of(store, "k"), "2");
  EXPECT_EQ(value_of(store, "gone"), std::nullopt);
  EXPECT_EQ(batch.version(0), 0u);
  EXPECT_EQ(batch.version(2), version_of("k"));
}

TEST_F(BatchTest, VersionsGrowAcrossBatchesAndRemovals) {
  std::uint64_t last = 0;
  for (int i = 0; i != 5; ++i) {
    batch.clear();
    batch.set("k", "v");
    ASSERT_TRUE(store.write(batch));
    EXPECT_GT(batch.version(0), last);
    last = batch.version(0);
    batch.clear();
    batch.del("k");
    ASSERT_TRUE(store.write(batch));
    const auto alone = store.set("k", "w");
    ASSERT_TRUE(alone);
    EXPECT_GT(*alone, last);
    last = *alone;
  }
}

TEST_F(BatchTest, EachConditionHoldsOrFails) {
  ASSERT_TRUE(store.set("there", "1"));
  const std::uint64_t version = version_of("there");
  struct Case {
    const char* name;
    void (*require)(WriteBatch&, std::uint64_t);
    bool holds;
  };
  const Case cases[] = {
      {"absent, is there", [](WriteBatch& b, std::uint64_t) { b.require_absent("there"); }, false},
      {"absent", [](WriteBatch& b, std::uint64_t) { b.require_absent("missing"); }, true},
      {"present", [](WriteBatch& b, std::uint64_t) { b.require_present("there"); }, true},
      {"present, isn't", [](WriteBatch& b, std::uint64_t) { b.require_present("missing"); }, false},
      {"version", [](WriteBatch& b, std::uint64_t v) { b.require_version("there", v); }, true},
      {"another version", [](WriteBatch& b, std::uint64_t v) { b.require_version("there", v + 1); }, false},
      {"version of nothing", [](WriteBatch& b, std::uint64_t) { b.require_version("missing", 0); }, false},
      {"value", [](WriteBatch& b, std::uint64_t) { b.require_value("there", "1"); }, true},
      {"another value", [](WriteBatch& b, std::uint64_t) { b.require_value("there", "10"); }, false},
      {"value of nothing", [](WriteBatch& b, std::uint64_t) { b.require_value("missing", ""); }, false},
  };
  int n = 0;
  for (const Case& c : cases) {
    const std::string key = "written" + std::to_string(n++);
    batch.clear();
    batch.set(key, "v");
    c.require(batch, version);
    const auto done = store.write(batch);
    EXPECT_EQ(done.status(), c.holds ? Status::kOk : Status::kConflict) << c.name;
    EXPECT_EQ(value_of(store, key).has_value(), c.holds) << c.name;
    EXPECT_EQ(batch.failed(), c.holds ? 2u : 1u) << c.name;
  }
  EXPECT_EQ(value_of(store, "there"), "1");
  EXPECT_EQ(version_of("there"), version) << "asking is no write";
}

TEST_F(BatchTest, ConditionsJudgeTheStateBeforeTheBatch) {
  ASSERT_TRUE(store.set("k", "1"));
  batch.set("k", "2");
  batch.require_value("k", "1");
  batch.set("new", "1");
  batch.require_absent("new");
  EXPECT_TRUE(store.write(batch));
  EXPECT_EQ(value_of(store, "k"), "2");
  EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  EXPECT_EQ(batch.failed(), 1u) << "the first of two";
}

TEST_F(BatchTest, OptionsOfASetAreConditionsOfTheWhole) {
  ASSERT_TRUE(store.set("k", "1"));
  const std::uint64_t version = version_of("k");
  batch.set("other", "v");
  batch.set("k", "2", {.if_absent = true});
  EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  EXPECT_EQ(batch.failed(), 1u);
  EXPECT_EQ(value_of(store, "other"), std::nullopt);
  batch.clear();
  batch.set("other", "v");
  batch.set("k", "2", {.if_present = true, .if_version = version});
  EXPECT_TRUE(store.write(batch));
  EXPECT_EQ(value_of(store, "k"), "2");
}

TEST_F(BatchTest, EachSetHasItsOwnLifetime) {
  ASSERT_TRUE(store.set("kept", "0", {.ttl = 500ms}));
  ASSERT_TRUE(store.set("kept_idle", "0", {.idle = 800ms}));
  ASSERT_TRUE(store.set("kept_none", "0"));
  ASSERT_TRUE(store.set("cleared", "0", {.ttl = 500ms}));
  batch.set("short", "1", {.ttl = 100ms});
  batch.set("long", "1", {.ttl = 1h});
  batch.set("idle", "1", {.idle = 300ms});
  batch.set("kept", "1", {.keep_ttl = true});
  batch.set("kept_idle", "1", {.keep_ttl = true});
  batch.set("kept_none", "1", {.keep_ttl = true});
  batch.set("kept_new", "1", {.keep_ttl = true});
  batch.set("cleared", "1");
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(*store.ttl("short"), 100ms);
  EXPECT_EQ(*store.ttl("long"), 1h);
  EXPECT_EQ(*store.ttl("kept"), 500ms);
  EXPECT_GE(**store.ttl("kept_idle"), 800ms);
  EXPECT_EQ(*store.ttl("kept_none"), std::nullopt);
  EXPECT_EQ(*store.ttl("kept_new"), std::nullopt);
  EXPECT_EQ(*store.ttl("cleared"), std::nullopt);
  EXPECT_EQ(store.stats().expiring, 5u);
  EXPECT_TRUE(whole(store));
  clock.advance(100ms);
  EXPECT_EQ(value_of(store, "short"), std::nullopt);
  clock.advance(400ms);
  EXPECT_EQ(value_of(store, "kept"), std::nullopt);
  EXPECT_EQ(value_of(store, "idle"), std::nullopt);
  EXPECT_EQ(value_of(store, "kept_idle"), "1");
  EXPECT_EQ(*store.cleanup_expired(), 3u) << "each deadline has its ticket";
  EXPECT_EQ(store.stats().entries, 5u);
}

TEST_F(BatchTest, ADeadEntryIsAbsent) {
  ASSERT_TRUE(store.set("k", "1", {.ttl = 10ms}));
  clock.advance(10ms);
  batch.require_absent("k");
  batch.set("k", "2", {.keep_ttl = true});
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(value_of(store, "k"), "2");
  EXPECT_EQ(*store.ttl("k"), std::nullopt);
  EXPECT_EQ(store.stats().entries, 1u);
  EXPECT_EQ(store.stats().expired, 1u);
}

TEST_F(BatchTest, ADeadEntryFailsWhatAsksForIt) {
  const std::uint64_t version = *store.set("k", "1", {.ttl = 10ms});
  EXPECT_TRUE(store.get_or_load("none", [](std::string_view) { return Loaded{}; }, {.negative_ttl = 1s}).missing());
  clock.advance(10ms);
  void (*const require[])(WriteBatch&, std::uint64_t) = {
      [](WriteBatch& b, std::uint64_t) { b.require_present("k"); },
      [](WriteBatch& b, std::uint64_t v) { b.require_version("k", v); },
      [](WriteBatch& b, std::uint64_t) { b.require_value("k", "1"); },
      [](WriteBatch& b, std::uint64_t) { b.set("k", "2", {.if_present = true}); },
      [](WriteBatch& b, std::uint64_t v) { b.set("k", "2", {.if_version = v}); },
      [](WriteBatch& b, std::uint64_t) { b.require_present("none"); },
  };
  for (const auto add : require) {
    batch.clear();
    add(batch, version);
    batch.set("other", "v");
    EXPECT_EQ(store.write(batch).status(), Status::kConflict);
    EXPECT_EQ(batch.failed(), 0u);
    EXPECT_EQ(all({"k", "none", "other"}), (std::vector<std::optional<std::string>>(3)));
  }
  batch.clear();
  batch.require_absent("none");
  batch.set("k", "2", {.if_absent = true});
  EXPECT_TRUE(store.write(batch));
  EXPECT_EQ(value_of(store, "k"), "2");
}

TEST_F(BatchTest, ConditionsOfOneKeyAddUp) {
  const std::uint64_t version = *store.set("k", "");
  batch.require_value("k", "");
  batch.require_version("k", version);
  batch.require_present("k");
  EXPECT_TRUE(store.write(batch));
  batch.require_absent("k");
  batch.set("other", "v");
  EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  EXPECT_EQ(batch.failed(), 3u);
  const std::string large = pattern(300'000, 1), longest(kKeyBytesMax, 'l');
  ASSERT_TRUE(store.set(longest, large));
  for (const bool holds : {true, false}) {
    batch.clear();
    batch.require_value(longest, holds ? large : pattern(300'000, 2));
    EXPECT_EQ(store.write(batch).status(), holds ? Status::kOk : Status::kConflict);
  }
}

TEST_F(BatchTest, VersionsAreThoseOfSetsThatWereDone) {
  batch.set("k", "1");
  batch.require_present("missing");
  EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  EXPECT_EQ(batch.version(0), 0u);
  EXPECT_EQ(batch.version(1), 0u);
  EXPECT_EQ(batch.version(2), 0u) << "there is no such operation";
  ASSERT_TRUE(store.set("missing", "v"));
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(batch.version(0), version_of("k"));
  EXPECT_EQ(batch.failed(), batch.size());
  ASSERT_TRUE(store.del("missing"));
  EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  EXPECT_EQ(batch.version(0), 0u) << "of this write";
}

// What a single set would drop without a word, a batch is refused.
TEST(BatchMemory, AStoreThatDropsRefusesIt) {
  Options o = small_options();
  o.entries_max = 10;
  o.eviction = false;
  o.full = WhenFull::kDrop;
  Store store = open_or_fail(o);
  for (std::uint64_t i = 0; i != 10; ++i) ASSERT_TRUE(store.set(numbered("k", i), "1"));
  WriteBatch batch;
  batch.set("k0", "2");
  batch.set("one more", "1");
  EXPECT_EQ(store.write(batch).status(), Status::kOutOfMemory);
  EXPECT_EQ(value_of(store, "k0"), "1");
  EXPECT_EQ(value_of(store, "one more"), std::nullopt);
}

TEST_F(BatchTest, WhatCannotBeIsRefusedAndNamed) {
  const std::string long_key(kKeyBytesMax + 1, 'k');
  struct Case {
    void (*add)(WriteBatch&, const std::string&);
    Error error;
  };
  const Case cases[] = {
      {[](WriteBatch& b, const std::string&) { b.set("", "v"); }, {Status::kInvalidKey, Field::kKey}},
      {[](WriteBatch& b, const std::string&) { b.del(""); }, {Status::kInvalidKey, Field::kKey}},
      {[](WriteBatch& b, const std::string&) { b.require_present(""); }, {Status::kInvalidKey, Field::kKey}},
      {[](WriteBatch& b, const std::string& k) { b.set(k, "v"); }, {Status::kTooLarge, Field::kKey}},
      {[](WriteBatch& b, const std::string&) { b.set("k", std::string(12 << 20, 'v')); }, {Status::kTooLarge, Field::kValue}},
      {[](WriteBatch& b, const std::string&) { b.set("k", "v", {.ttl = 0ms}); }, {Status::kInvalidArgument, Field::kTtl}},
      {[](WriteBatch& b, const std::string&) { b.set("k", "v", {.ttl = milliseconds::max()}); }, {Status::kOutOfRange, Field::kTtl}},
      {[](WriteBatch& b, const std::string&) { b.set("k", "v", {.ttl = 1ms, .keep_ttl = true}); }, {Status::kInvalidArgument, Field::kTtl}},
      {[](WriteBatch& b, const std::string&) { b.set("k", "v", {.if_absent = true, .if_present = true}); },
       {Status::kInvalidArgument, Field::kConditions}},
      {[](WriteBatch& b, const std::string&) {
         static Value previous;
         b.set("k", "v", {.return_previous = &previous});
       },
       {Status::kInvalidArgument, Field::kReturnPrevious}},
      {[](WriteBatch& b, const std::string&) { b.set("k", "v", {.if_fence = Fence{"door", 1}}); }, {Status::kInvalidArgument, Field::kFence}},
  };
  for (const Case& c : cases) {
    batch.clear();
    batch.set("first", "v");
    c.add(batch, long_key);
    EXPECT_EQ(store.write(batch).error(), c.error);
    EXPECT_EQ(batch.failed(), 1u);
    EXPECT_EQ(value_of(store, "first"), std::nullopt);
  }
}

TEST_F(BatchTest, AsManyAsTheOptionSays) {
  for (std::size_t i = 0; i != 4096; ++i) batch.set(numbered("k", i), numbered("v", i));
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(store.stats().entries, 4096u);
  for (std::size_t i = 0; i < 4096; i += 97) EXPECT_EQ(value_of(store, numbered("k", i)), numbered("v", i));
  EXPECT_TRUE(whole(store));
  batch.set("one more", "v");
  EXPECT_EQ(store.write(batch).error(), (Error{Status::kTooLarge, Field::kBatch}));
  EXPECT_EQ(value_of(store, "one more"), std::nullopt);
  Options o = small_options();
  o.max_batch = 2;
  Store small = open_or_fail(o);
  WriteBatch three;
  for (const char* key : {"a", "b", "c"}) three.set(key, "v");
  EXPECT_EQ(small.write(three).error(), (Error{Status::kTooLarge, Field::kBatch}));
  for (std::size_t bad : {0, 4097}) {
    o.max_batch = bad;
    EXPECT_EQ(Store::open(o).error(), (Error{Status::kOutOfRange, Field::kMaxBatch}));
  }
}

TEST_F(BatchTest, LongKeysAndLongValues) {
  const std::string long_key(300, 'k'), longest(kKeyBytesMax, 'l');
  const std::string big = pattern(300 << 10);
  ASSERT_TRUE(store.set(long_key, "1"));
  batch.set(longest, big);
  batch.del(long_key);
  batch.del(std::string(400, 'n'));
  batch.require_value(long_key, "1");
  batch.set("k", big);
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(value_of(store, longest), big);
  EXPECT_EQ(value_of(store, "k"), big);
  EXPECT_EQ(value_of(store, long_key), std::nullopt);
  EXPECT_EQ(store.stats().entries, 2u);
  EXPECT_TRUE(whole(store));
  batch.clear();
  batch.require_value("k", big);
  batch.require_absent(std::string(500, 'x'));
  batch.del("k");
  batch.del(longest);
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(BatchTest, AskingAloneChangesNothing) {
  ASSERT_TRUE(store.set("a", "1", {.ttl = 1s}));
  const std::uint64_t version = version_of("a");
  batch.require_present("a");
  batch.require_absent("b");
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(version_of("a"), version);
  EXPECT_EQ(*store.ttl("a"), 1s);
  EXPECT_EQ(store.stats().entries, 1u);
  EXPECT_TRUE(whole(store));
  EXPECT_TRUE(*store.expire("a", 2s));
  clock.advance(1500ms);
  EXPECT_EQ(value_of(store, "a"), "1");
  clock.advance(500ms);
  EXPECT_EQ(*store.cleanup_expired(), 1u) << "its ticket went with it";
}

TEST_F(BatchTest, TransactionsTakeOneWayOrTheOther) {
  WriteBatch conditions, then, otherwise;
  conditions.require_absent("lock");
  then.set("lock", "me");
  then.set("count", "1");
  otherwise.set("refused", "1");
  EXPECT_TRUE(*store.transact(conditions, then, otherwise));
  EXPECT_EQ(value_of(store, "lock"), "me");
  EXPECT_EQ(then.version(0), version_of("lock"));
  EXPECT_EQ(value_of(store, "refused"), std::nullopt);
  EXPECT_FALSE(*store.transact(conditions, then, otherwise));
  EXPECT_EQ(value_of(store, "refused"), "1");
  // Without conditions: always the first.
  WriteBatch none;
  EXPECT_TRUE(*store.transact(none, otherwise, then));
  // A condition of the branch itself is the branch's failure.
  then.require_absent("lock");
  conditions.clear();
  conditions.require_present("lock");
  EXPECT_EQ(store.transact(conditions, then, otherwise).status(), Status::kConflict);
  EXPECT_EQ(then.failed(), 2u);
  conditions.set("k", "v");
  EXPECT_EQ(store.transact(conditions, then, otherwise).error(), (Error{Status::kInvalidArgument, Field::kConditions}));
}

// A clock whose reader changes a key: each batch reads it once, before it asks for anything.
class TurningClock final : public Clock {
 public:
  milliseconds now() const noexcept override {
    if (left_ != 0 && !turning_) {
      turning_ = true;
      --left_;
      if (*store_->exists("turn")) {
        (void)store_->del("turn");
      } else {
        (void)store_->set("turn", "v");
      }
      turning_ = false;
    }
    return 1'000s;
  }
  void turn(const Store& store, unsigned times) noexcept {
    store_ = &store;
    left_ = times;
  }
  unsigned left() const noexcept { return left_; }

 private:
  const Store* store_ = nullptr;
  mutable unsigned left_ = 0;
  mutable bool turning_ = false;
};

// A condition that is another each time it is asked: of the first list, then, negated, of the other.
TEST(Transactions, GiveUpAfterSixteenTurns) {
  TurningClock clock;
  Store store = open_or_fail(small_options(&clock));
  WriteBatch conditions, then, otherwise;
  conditions.require_present("turn");
  then.set("then", "v");
  otherwise.set("otherwise", "v");
  const auto turned = [&](unsigned times) {
    (void)store.set("turn", "v");
    clock.turn(store, times);
    return store.transact(conditions, then, otherwise);
  };
  EXPECT_EQ(turned(1'000).status(), Status::kConflict);
  EXPECT_EQ(clock.left(), 1'000u - 2 * 16);
  clock.turn(store, 0);
  EXPECT_EQ(value_of(store, "then"), std::nullopt);
  EXPECT_EQ(value_of(store, "otherwise"), std::nullopt);
  EXPECT_EQ(value_of(store, "turn"), "v");
  EXPECT_EQ(store.stats().entries, 1u);
  // What stays as it is in the last of them is written.
  const Result<bool> no = turned(2 * 16 - 1);
  ASSERT_TRUE(no);
  EXPECT_FALSE(*no);
  EXPECT_EQ(value_of(store, "otherwise"), "v");
  EXPECT_EQ(value_of(store, "then"), std::nullopt);
  const Result<bool> yes = turned(2 * 16 - 2);
  ASSERT_TRUE(yes);
  EXPECT_TRUE(*yes);
  EXPECT_EQ(value_of(store, "then"), "v");
  EXPECT_TRUE(whole(store));
}

TEST(Transactions, BothListsAreCheckedFirst) {
  Options o = small_options();
  o.max_batch = 4;
  Store store = open_or_fail(o);
  WriteBatch conditions, then, otherwise;
  conditions.require_absent("a");
  conditions.require_absent("b");
  for (const char* key : {"a", "b"}) then.set(key, "v");
  otherwise.set("c", "v");
  otherwise.set("", "v");
  EXPECT_EQ(store.transact(conditions, then, otherwise).error(), (Error{Status::kInvalidKey, Field::kKey}));
  EXPECT_EQ(otherwise.failed(), 1u);
  then.set("c", "v");
  EXPECT_EQ(store.transact(conditions, then, otherwise).error(), (Error{Status::kTooLarge, Field::kBatch})) << "with its conditions";
  EXPECT_EQ(store.stats().entries, 0u);
  // Conditions judge the state before, whatever a list does to their keys; and one that fails leaves the other list's versions.
  then.clear();
  then.set("a", "1");
  then.del("b");
  otherwise.clear();
  otherwise.del("a");
  EXPECT_TRUE(*store.transact(conditions, then, otherwise));
  EXPECT_FALSE(*store.transact(conditions, then, otherwise));
  EXPECT_EQ(store.stats().entries, 0u);
}

// Inside the guard of a visit, over keys that the visited record is one of: whatever the batch replaces stays readable.
TEST_F(BatchTest, ACallbackOfAVisitMayWriteOne) {
  ASSERT_TRUE(store.set("a", "before"));
  ASSERT_TRUE(store.set("b", "before"));
  const auto visited = store.visit("a", [&](std::string_view value) {
    for (int i = 0; i != 200; ++i) {
      batch.clear();
      batch.set("a", "after");
      batch.set("b", "after");
      EXPECT_TRUE(store.write(batch));
    }
    EXPECT_EQ(value, "before");
    EXPECT_EQ(store.get("b")->view(), "after");
  });
  EXPECT_TRUE(visited && *visited);
  EXPECT_EQ(store.get("a")->view(), "after");
}

// Inside the guard of a view's walk.
TEST_F(BatchTest, ACallbackOfAWalkMayWriteOneAndOpenAView) {
  for (unsigned i = 0; i != 100; ++i) ASSERT_TRUE(store.set(numbered("k", i), "before"));
  const auto view = store.view();
  ASSERT_TRUE(view);
  unsigned shown = 0;
  const Result<bool> all = view->for_each([&](std::string_view key, std::string_view value) {
    batch.clear();
    batch.set(key, "after");
    batch.require_present(numbered("k", (shown + 50) % 100));
    batch.del(numbered("k", shown % 7 + 200));
    batch.set(numbered("new", shown), "after");
    EXPECT_TRUE(store.write(batch));
    EXPECT_EQ(value, "before");
    const auto younger = store.view();
    EXPECT_TRUE(younger);
    EXPECT_EQ(value_of(*younger, key), "after");
    EXPECT_EQ(value_of(*view, key), "before");
    ++shown;
    return true;
  });
  EXPECT_TRUE(all && *all);
  EXPECT_EQ(shown, 100u);
  EXPECT_EQ(*view->size(), 100u);
  EXPECT_EQ(store.stats().entries, 200u);
}

// Keys that share buckets and overflow buckets, some there and some not, in batches of every size around those that take
// another way: past a few they are sorted otherwise, and looked for in groups.
TEST_F(BatchTest, OfEverySizeOverEveryPartOfTheTable) {
  unsigned value = 0;
  for (unsigned size : {1u, 2u, 15u, 16u, 17u, 33u, 64u, 65u, 300u, 1'000u, 4'096u}) {
    for (unsigned from : {0u, 150u}) {
      batch.clear();
      const std::string text = std::to_string(++value) + std::string(size % 400, '.');
      const unsigned keys = std::max(600u, 2 * size);
      for (unsigned i = 0; i != size; ++i) batch.set(numbered("k", (from + i * 7) % keys), text);
      ASSERT_TRUE(store.write(batch));
      for (unsigned i = 0; i != size; ++i) {
        const auto got = store.get_entry(numbered("k", (from + i * 7) % keys));
        ASSERT_TRUE(got);
        EXPECT_EQ(got->value.view(), text);
        EXPECT_EQ(got->version, batch.version(i));
      }
    }
  }
  EXPECT_TRUE(whole(store));
}

// As many operations as there can be, of so few keys that all have one of a few hashes.
TEST_F(BatchTest, OfFewKeysManyTimesEach) {
  for (unsigned keys : {1u, 3u}) {
    batch.clear();
    for (unsigned i = 0; i != 4'096; ++i) {
      if (i % 5 == 4) {
        batch.del(numbered("k", i % keys));
      } else {
        batch.set(numbered("k", i % keys), std::to_string(i));
      }
    }
    ASSERT_TRUE(store.write(batch));
    for (unsigned i = 4'096 - keys; i != 4'096; ++i) {
      if (i % 5 == 4) {
        EXPECT_EQ(value_of(store, numbered("k", i % keys)), std::nullopt);
        continue;
      }
      EXPECT_EQ(value_of(store, numbered("k", i % keys)), std::to_string(i));
      EXPECT_EQ(batch.version(i), version_of(numbered("k", i % keys)));
      EXPECT_EQ(batch.version(i - keys), 0u);
    }
  }
}

TEST_F(BatchTest, AClosedStoreSaysSo) {
  batch.set("k", "v");
  store.close();
  EXPECT_EQ(store.write(batch).status(), Status::kClosed);
  EXPECT_EQ(store.transact(batch, batch, batch).status(), Status::kClosed);
}

TEST(BatchMemory, AFullStoreChangesNothing) {
  Options o = small_options();
  o.memory_bytes = 4 * kMiB;
  o.eviction = false;
  Store store = open_or_fail(o);
  const std::string value(1000, 'v');
  std::uint64_t n = 0;
  while (store.set(numbered("k", n), value)) ++n;
  const Stats before = store.stats();
  WriteBatch batch;
  for (std::uint64_t i = 0; i != 500; ++i) batch.set(numbered("k", i), std::string(2000, 'w'));
  for (std::uint64_t i = 0; i != 100; ++i) batch.set(numbered("new", i), value);
  EXPECT_EQ(store.write(batch).status(), Status::kOutOfMemory);
  EXPECT_EQ(batch.failed(), batch.size());
  EXPECT_EQ(store.stats().entries, before.entries);
  for (std::uint64_t i = 0; i != n; ++i) EXPECT_EQ(value_of(store, numbered("k", i)), value);
  EXPECT_EQ(value_of(store, "new0"), std::nullopt);
  EXPECT_TRUE(whole(store));
}

TEST(BatchMemory, EvictionMakesRoomFirst) {
  Options o = small_options();
  o.memory_bytes = 4 * kMiB;
  Store store = open_or_fail(o);
  WriteBatch batch;
  const std::string value(1000, 'v');
  for (int round = 0; round != 200; ++round) {
    batch.clear();
    for (int i = 0; i != 100; ++i) batch.set(numbered("k", static_cast<std::uint64_t>(round) * 100 + i), value);
    ASSERT_TRUE(store.write(batch)) << round;
    for (int i = 0; i < 100; i += 33) {
      EXPECT_EQ(value_of(store, numbered("k", static_cast<std::uint64_t>(round) * 100 + i)), value) << round;
    }
  }
  EXPECT_GT(store.stats().evicted, 10'000u);
  EXPECT_TRUE(whole(store));
}

// As many removals as a batch has need as many records that say so, all at once: where others can be evicted for them they are done,
// and leave evictions what these need; else they are refused, and can be made one by one.
TEST(BatchMemory, ThousandsOfRemovalsFromAFullStore) {
  for (const bool evicts : {true, false}) {
    Options o = small_options();
    o.memory_bytes = 4 * kMiB;
    o.eviction = evicts;
    Store store = open_or_fail(o);
    const std::string value(64, 'v');
    std::uint64_t n = 0;
    const auto fill = [&] {
      if (evicts) {
        for (const std::uint64_t end = n + 60'000; n != end; ++n) ASSERT_TRUE(store.set(numbered("k", n), value));
      } else {
        while (store.set(numbered("k", n), value)) ++n;
      }
    };
    WriteBatch batch;
    for (int round = 0; round != 4; ++round) {
      SCOPED_TRACE(testing::Message() << (evicts ? "evicting, " : "refusing, ") << round);
      fill();
      const std::uint64_t before = store.stats().entries;
      batch.clear();
      for (std::uint64_t i = 0; i != 4'096; ++i) batch.del(numbered("k", n - 1 - i));
      if (evicts) {
        ASSERT_TRUE(store.write(batch));
      } else if (const auto done = store.write(batch); !done) {
        EXPECT_EQ(done.status(), Status::kOutOfMemory);
        EXPECT_EQ(store.stats().entries, before);
        for (std::uint64_t i = 0; i != 4'096; ++i) ASSERT_TRUE(store.del(numbered("k", n - 1 - i))) << i;
      }
      if (!evicts) {
        EXPECT_LT(store.stats().entries, before - 1'000);
      }
      EXPECT_EQ(value_of(store, numbered("k", n - 1)), std::nullopt);
      for (std::uint64_t i = 0; i != 3'000; ++i, ++n) ASSERT_TRUE(store.set(numbered("k", n), value)) << i;
      for (std::uint64_t i = 0; i != 1'000; ++i) EXPECT_TRUE(store.del(numbered("k", n - 1 - i))) << i;
    }
    EXPECT_TRUE(whole(store));
  }
}

TEST(BatchMemory, TheBoundOnEntriesIsKept) {
  Options o = small_options();
  o.entries_max = 100;
  o.eviction = false;
  Store store = open_or_fail(o);
  WriteBatch batch;
  for (std::uint64_t i = 0; i != 100; ++i) batch.set(numbered("k", i), "1");
  ASSERT_TRUE(store.write(batch));
  ASSERT_TRUE(store.write(batch)) << "none of these is new";
  batch.set("one more", "1");
  EXPECT_EQ(store.write(batch).status(), Status::kOutOfMemory);
  EXPECT_EQ(store.stats().entries, 100u);
  batch.clear();
  for (std::uint64_t i = 0; i != 50; ++i) batch.del(numbered("k", i));
  ASSERT_TRUE(store.write(batch));
  for (std::uint64_t i = 0; i != 50; ++i) EXPECT_TRUE(store.set(numbered("x", i), "1"));
  EXPECT_EQ(store.set("full", "1").status(), Status::kOutOfMemory);
  EXPECT_TRUE(whole(store));
}

TEST(BatchRemovals, EachIsToldOnce) {
  std::vector<std::string> told;
  ManualClock clock;
  Options o = small_options(&clock);
  o.on_removed_user = &told;
  o.on_removed = [](void* user, std::string_view key, std::string_view value, RemovalCause cause) {
    static_cast<std::vector<std::string>*>(user)->push_back(std::string(key) + "=" + std::string(value) +
                                                           (cause == RemovalCause::kExpired ? " expired" : " deleted"));
  };
  Store store = open_or_fail(o);
  ASSERT_TRUE(store.set("deleted", "1"));
  ASSERT_TRUE(store.set("replaced", "1"));
  ASSERT_TRUE(store.set("expired", "1", {.ttl = 5ms}));
  clock.advance(5ms);
  WriteBatch batch;
  batch.del("deleted");
  batch.del("never");
  batch.set("replaced", "2");
  batch.set("expired", "2");
  batch.require_absent("replaced");
  EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  EXPECT_TRUE(told.empty());
  batch.clear();
  batch.del("deleted");
  batch.del("never");
  batch.set("replaced", "2");
  batch.set("expired", "2");
  ASSERT_TRUE(store.write(batch));
  std::sort(told.begin(), told.end());
  EXPECT_EQ(told, (std::vector<std::string>{"deleted=1 deleted", "expired=1 expired"}));
}

TEST(BatchObject, IsMovedAndUsedAgain) {
  Store store = open_or_fail(small_options());
  WriteBatch a;
  a.set("k", "1");
  WriteBatch b = std::move(a);
  EXPECT_EQ(b.size(), 1u);
  EXPECT_TRUE(store.write(b));
  a = std::move(b);
  EXPECT_EQ(a.size(), 1u);
  EXPECT_EQ(a.version(0), store.get_entry("k")->version);
  a.clear();
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(a.version(0), 0u);
}

}  // namespace
}  // namespace tern::test
