// set, del and what they answer.
#include <tern/store.h>

#include <string>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class SetTest : public StoreTest {};

TEST_F(SetTest, ASecondSetReplaces) {
  ASSERT_TRUE(store.set("k", "first"));
  ASSERT_TRUE(store.set("k", "second, and longer than the first"));
  EXPECT_EQ(value_of(store, "k"), "second, and longer than the first");
  ASSERT_TRUE(store.set("k", ""));
  EXPECT_EQ(value_of(store, "k"), "");
  EXPECT_EQ(store.stats().entries, 1u);
}

TEST_F(SetTest, TheCallersBytesMayChangeAfterwards) {
  std::string key = "key", value = "value";
  ASSERT_TRUE(store.set(key, value));
  key[0] = 'X';
  value[0] = 'X';
  EXPECT_EQ(value_of(store, "key"), "value");
}

TEST_F(SetTest, VersionsGrowWithEachChange) {
  std::uint64_t last = 0;
  for (int i = 0; i < 100; ++i) {
    const Result<std::uint64_t> v = store.set("k", numbered("v", static_cast<unsigned>(i)));
    ASSERT_TRUE(v);
    EXPECT_GT(*v, last);
    last = *v;
  }
}

TEST_F(SetTest, VersionsGrowAcrossRemovals) {
  std::uint64_t last = 0;
  for (unsigned i = 0; i < 200; ++i) {
    const Result<std::uint64_t> v = store.set("k", "v");
    ASSERT_TRUE(v);
    EXPECT_GT(*v, last) << "after removal " << i;
    last = *v;
    ASSERT_TRUE(*store.del("k"));
    // Other keys come and go between, so that the removed key's place in the table is cleared.
    ASSERT_TRUE(store.set(numbered("other", i % 7), "x"));
    if (i % 3 == 0) {
      ASSERT_TRUE(store.tick(1ms));
    }
  }
}

TEST_F(SetTest, VersionsGrowAcrossExpiry) {
  const Result<std::uint64_t> a = store.set("k", "v", {.ttl = 10ms});
  ASSERT_TRUE(a);
  clock.advance(10ms);
  const Result<std::uint64_t> b = store.set("k", "v");
  ASSERT_TRUE(b);
  EXPECT_GT(*b, *a);
}

TEST_F(SetTest, EveryKindOfChangeRaisesTheVersion) {
  ASSERT_TRUE(store.set("k", "1"));
  std::uint64_t last = store.get_entry("k")->version;
  const auto grew = [&](const char* what) {
    const std::uint64_t now = store.get_entry("k")->version;
    EXPECT_GT(now, last) << what;
    last = now;
  };
  ASSERT_TRUE(store.increment("k"));
  grew("increment");
  ASSERT_TRUE(store.increment_float("k", 0.5));
  grew("increment_float");
  ASSERT_TRUE(store.append("k", "0"));
  grew("append");
  ASSERT_TRUE(*store.compare_and_swap("k", "2.50", "x"));
  grew("compare_and_swap");
  ASSERT_TRUE(*store.compare_and_swap_version("k", last, "y"));
  grew("compare_and_swap_version");
  ASSERT_TRUE(store.get_and_set("k", "z"));
  grew("get_and_set");
  ASSERT_TRUE(
      store.update("k", [](std::optional<std::string_view>) { return Update::replace("u"); }));
  grew("update");
  ASSERT_TRUE(store.allocate("k", 1)->publish());
  grew("publish");
}

TEST_F(SetTest, AReadChangesNoVersion) {
  const Result<std::uint64_t> v = store.set("k", "v");
  ASSERT_TRUE(store.get("k"));
  ASSERT_TRUE(store.hold("k"));
  ASSERT_TRUE(store.exists("k"));
  EXPECT_EQ(store.get_entry("k")->version, *v);
}

TEST_F(SetTest, DelSaysWhetherALiveEntryWasRemoved) {
  EXPECT_FALSE(*store.del("k"));
  ASSERT_TRUE(store.set("k", "v"));
  EXPECT_TRUE(*store.del("k"));
  EXPECT_FALSE(*store.del("k"));
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(SetTest, DelOfAnExpiredEntryIsFalse) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 5ms}));
  clock.advance(5ms);
  EXPECT_FALSE(*store.del("k"));
}

TEST_F(SetTest, AKeyCanBeSetAgainAfterDel) {
  for (unsigned i = 0; i < 1'000; ++i) {
    ASSERT_TRUE(store.set("k", numbered("v", i)));
    ASSERT_EQ(value_of(store, "k"), numbered("v", i));
    ASSERT_TRUE(*store.del("k"));
    ASSERT_EQ(value_of(store, "k"), std::nullopt);
  }
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(SetTest, GetAndDelGivesWhatWasThere) {
  EXPECT_TRUE(store.get_and_del("k").missing());
  ASSERT_TRUE(store.set("k", "v"));
  const Lookup<Value> r = store.get_and_del("k");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->view(), "v");
  EXPECT_TRUE(store.get_and_del("k").missing());
}

TEST_F(SetTest, GetAndDelOfAnExpiredEntryIsAMiss) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 5ms}));
  clock.advance(5ms);
  EXPECT_TRUE(store.get_and_del("k").missing());
}

TEST_F(SetTest, GetAndSetGivesWhatWasThereAndSetsAllTheSame) {
  EXPECT_TRUE(store.get_and_set("k", "first").missing());
  EXPECT_EQ(value_of(store, "k"), "first");
  const Lookup<Value> r = store.get_and_set("k", "second");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->view(), "first");
  EXPECT_EQ(value_of(store, "k"), "second");
}

TEST_F(SetTest, GetAndSetOfAnExpiredEntryIsAMissAndSets) {
  ASSERT_TRUE(store.set("k", "old", {.ttl = 5ms}));
  clock.advance(5ms);
  EXPECT_TRUE(store.get_and_set("k", "new").missing());
  EXPECT_EQ(value_of(store, "k"), "new");
  EXPECT_EQ(*store.ttl("k"), std::nullopt);
}

TEST_F(SetTest, ReturnPreviousGivesTheReplacedValue) {
  Value previous("left over");
  ASSERT_TRUE(store.set("k", "one", {.return_previous = &previous}));
  EXPECT_TRUE(previous.empty());
  const std::string two = pattern(300);
  ASSERT_TRUE(store.set("k", two, {.return_previous = &previous}));
  EXPECT_EQ(previous.view(), "one");
  ASSERT_TRUE(store.set("k", "three", {.return_previous = &previous}));
  EXPECT_EQ(previous.view(), two);
}

TEST_F(SetTest, ReturnPreviousOfAnExpiredEntryIsEmpty) {
  ASSERT_TRUE(store.set("k", "old", {.ttl = 5ms}));
  clock.advance(5ms);
  Value previous("left over");
  ASSERT_TRUE(store.set("k", "new", {.return_previous = &previous}));
  EXPECT_TRUE(previous.empty());
}

TEST_F(SetTest, AValueMayBeSetFromTheBytesOfAnotherRecord) {
  ASSERT_TRUE(store.set("a", pattern(2'000)));
  ASSERT_TRUE(store.visit("a", [&](std::string_view bytes) {
    ASSERT_TRUE(store.set("b", bytes));
    ASSERT_TRUE(store.set("a", bytes.substr(1)));
  }));
  EXPECT_EQ(value_of(store, "b"), pattern(2'000));
  EXPECT_EQ(value_of(store, "a"), pattern(2'000).substr(1));
}

TEST_F(SetTest, ManyKeysThroughManyGrowthsAreAllThere) {
  const unsigned count = 30'000;
  for (unsigned i = 0; i < count; ++i) {
    ASSERT_TRUE(store.set(numbered("key", i), numbered("value", i)));
  }
  EXPECT_EQ(store.stats().entries, count);
  for (unsigned i = 0; i < count; ++i) {
    ASSERT_EQ(value_of(store, numbered("key", i)), numbered("value", i));
  }
  for (unsigned i = 0; i < count; i += 2) ASSERT_TRUE(*store.del(numbered("key", i)));
  for (unsigned i = 0; i < count; ++i) {
    ASSERT_EQ(*store.exists(numbered("key", i)), i % 2 == 1) << i;
  }
  EXPECT_EQ(store.stats().entries, count / 2);
}

}  // namespace
}  // namespace tern::test
