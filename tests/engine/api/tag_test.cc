// Tags: names that entries have beside their keys, whatever the record looks like, and del_tag.
#include <tern/store.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

using namespace std::literals;

SetOptions tagged(const std::vector<std::string_view>& tags) {
  SetOptions o;
  o.tags = tags;
  return o;
}
void sweep(const Store& store) {
  for (int n = 0; n != 100'000 && store.stats().owed.invalidations != 0; ++n) ASSERT_TRUE(store.tick(milliseconds(1)));
}
std::uint64_t removed_by(const Store& store, std::string_view tag) {
  const Result<std::uint64_t> id = store.del_tag(tag);
  EXPECT_TRUE(id) << testing::PrintToString(id.error());
  sweep(store);
  const Lookup<Invalidated> r = store.invalidated(*id);
  EXPECT_TRUE(r && r->done);
  return r ? r->entries : 0;
}

using TagTest = StoreTest;

TEST_F(TagTest, ATagTakesItsEntriesAloneAndAtOnce) {
  const std::vector<std::string_view> red = {"red"}, both = {"blue", "red"}, blue = {"blue"};
  ASSERT_TRUE(store.set("r", "1", tagged(red)));
  ASSERT_TRUE(store.set("rb", "2", tagged(both)));
  ASSERT_TRUE(store.set("b", "3", tagged(blue)));
  ASSERT_TRUE(store.set("none", "4"));
  const auto before = store.view();
  ASSERT_TRUE(store.del_tag("red"));
  EXPECT_EQ(value_of(store, "r"), std::nullopt);
  EXPECT_EQ(value_of(store, "rb"), std::nullopt);
  EXPECT_EQ(value_of(store, "b"), "3");
  EXPECT_EQ(value_of(store, "none"), "4");
  EXPECT_EQ(value_of(*before, "rb"), "2");
  ASSERT_TRUE(store.set("r", "5", tagged(red)));
  EXPECT_EQ(value_of(store, "r"), "5");
  sweep(store);
  EXPECT_EQ(value_of(store, "r"), "5");
  EXPECT_EQ(store.stats().entries, 3u);
  EXPECT_EQ(removed_by(store, "blue"), 1u);
  EXPECT_EQ(removed_by(store, "green"), 0u);
}

// A watch that leaves out what is superseded tells what a removal by tag has taken nevertheless: the tag alone says what that was.
TEST_F(TagTest, ACoalescingWatchKnowsWhatARemovalTook) {
  const std::vector<std::string_view> red = {"red"};
  auto watch = store.watch_prefix("", {.coalesce = true});
  ASSERT_TRUE(watch);
  ASSERT_TRUE(store.set("k", "0"));
  std::array<Change, 8> changes;
  ASSERT_EQ(*watch->poll(changes), 1u);
  ASSERT_TRUE(store.set("k", "1", tagged(red)));
  EXPECT_EQ(removed_by(store, "red"), 1u);
  // The removal is told once in each ring; in the key's own after the put.
  const auto told = std::span(changes).first(*watch->poll(changes));
  const auto put = std::find_if(told.begin(), told.end(), [](const Change& c) { return c.kind == ChangeKind::kPut; });
  ASSERT_NE(put, told.end());
  EXPECT_EQ(put->value, "1");
  EXPECT_FALSE(put->tags.empty());
  EXPECT_TRUE(std::any_of(put, told.end(), [&](const Change& c) { return c.kind == ChangeKind::kInvalidate && c.shard == put->shard; }));
}

TEST_F(TagTest, TheWholeTagIsCompared) {
  const std::vector<std::string_view> tags = {"a", "ab", "\0"sv, "a\0"sv};
  for (const std::string_view tag : tags) {
    const std::vector<std::string_view> one = {tag};
    ASSERT_TRUE(store.set("of " + std::string(tag), "v", tagged(one)));
  }
  for (const std::string_view other : {"b"sv, "abc"sv, "\0\0"sv, "A"sv}) EXPECT_EQ(removed_by(store, other), 0u);
  for (const std::string_view tag : tags) EXPECT_EQ(removed_by(store, tag), 1u);
}

// Every shape of record: short and long keys, values in the record and beside it, deadlines.
TEST_F(TagTest, EveryShapeOfRecordKeepsThem) {
  const std::vector<std::string_view> tags = {"shape", "another tag", "and a third"};
  const std::string keys[] = {"k", pattern(254, 1), pattern(255, 2), pattern(9'000, 3), pattern(kKeyBytesMax, 4)};
  const std::string values[] = {"", "v", pattern(200, 5), pattern(9'000, 6), pattern(300'000, 7)};
  unsigned count = 0;
  for (const std::string& key : keys) {
    for (const std::string& value : values) {
      for (unsigned life = 0; life != 3; ++life) {
        SetOptions o = tagged(tags);
        if (life == 1) o.ttl = 1h;
        if (life == 2) o.idle = 1h;
        const std::string name = numbered("", count) + key.substr(0, kKeyBytesMax - 4);
        ASSERT_TRUE(store.set(name, value, o));
        ASSERT_EQ(value_of(store, name), value);
        const Lookup<Entry> e = store.get_entry(name);
        ASSERT_EQ(e->ttl.has_value(), life != 0);
        ++count;
        if (count % 20 == 0) {
          ASSERT_TRUE(whole(store));
          ASSERT_EQ(removed_by(store, "and a third"), 20u);
        }
      }
    }
  }
  EXPECT_EQ(removed_by(store, "shape"), count % 20);
  EXPECT_EQ(store.stats().entries, 0u);
  EXPECT_EQ(store.stats().expiring, 0u);
}

TEST_F(TagTest, WhatChangesAValueKeepsThemAndASetReplacesThem) {
  const std::vector<std::string_view> tags = {"kept"};
  for (const char* key : {"app", "inc", "incf", "upd", "cas", "exp", "per", "set", "gset", "keep_ttl"}) {
    ASSERT_TRUE(store.set(key, "1", tagged(tags)));
  }
  ASSERT_TRUE(store.append("app", "2"));
  ASSERT_TRUE(store.increment("inc"));
  ASSERT_TRUE(store.increment_float("incf", 0.5));
  ASSERT_TRUE(store.update("upd", [](auto) { return Update::replace("new"); }));
  ASSERT_TRUE(*store.compare_and_swap("cas", "1", "2"));
  ASSERT_TRUE(*store.expire("exp", 1h));
  ASSERT_TRUE(*store.expire("per", 1h));
  ASSERT_TRUE(*store.persist("per"));
  ASSERT_TRUE(store.set("set", "2"));
  ASSERT_TRUE(store.get_and_set("gset", "2"));
  ASSERT_TRUE(store.set("keep_ttl", "2", SetOptions{.keep_ttl = true}));
  EXPECT_EQ(removed_by(store, "kept"), 7u);
  for (const char* key : {"set", "gset", "keep_ttl"}) EXPECT_EQ(value_of(store, key), "2") << key;
}

TEST_F(TagTest, BatchesHaveThem) {
  WriteBatch batch;
  {
    // The batch has copies.
    std::string name = "of the batch";
    const std::vector<std::string_view> tags = {name, "second"};
    batch.set("a", "1", tagged(tags));
    batch.set("b", "2", tagged(tags));
    batch.set("c", "3");
    name.assign(name.size(), '#');
  }
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(removed_by(store, "of the batch"), 2u);
  EXPECT_EQ(value_of(store, "c"), "3");
  batch.clear();
  const std::vector<std::string_view> wrong = {""};
  batch.set("d", "4", tagged(wrong));
  EXPECT_EQ(store.write(batch).error(), (Error{Status::kInvalidArgument, Field::kTags}));
  EXPECT_EQ(batch.failed(), 0u);
}

TEST_F(TagTest, LimitsAreChecked) {
  const Error wrong{Status::kInvalidArgument, Field::kTags};
  std::vector<std::string> names;
  for (unsigned i = 0; i != 17; ++i) names.push_back(numbered("tag", i));
  std::vector<std::string_view> tags(names.begin(), names.end() - 1);
  ASSERT_TRUE(store.set("sixteen", "v", tagged(tags)));
  tags.push_back(names.back());
  EXPECT_EQ(store.set("seventeen", "v", tagged(tags)).error(), wrong);
  const std::string longest(255, 't'), too_long(256, 't');
  tags = {longest, longest, longest};
  ASSERT_TRUE(store.set("long", "v", tagged(tags)));
  tags.push_back(longest);
  EXPECT_EQ(store.set("too many bytes", "v", tagged(tags)).error(), wrong);
  tags = {too_long};
  EXPECT_EQ(store.set("too long", "v", tagged(tags)).error(), wrong);
  tags = {""};
  EXPECT_EQ(store.set("empty", "v", tagged(tags)).error(), wrong);
  EXPECT_EQ(store.del_tag("").error(), wrong);
  EXPECT_EQ(store.del_tag(too_long).error(), wrong);
  auto draft = store.allocate("draft", 1);
  tags = {"t"};
  EXPECT_EQ(draft->publish(tagged(tags)).error(), wrong);
  EXPECT_EQ(store.stats().entries, 2u);
  EXPECT_EQ(removed_by(store, longest), 1u);
  EXPECT_EQ(removed_by(store, "tag15"), 1u);
}

// Records that move to other blocks take them along.
TEST_F(TagTest, PageMovesTakeThemAlong) {
  const std::vector<std::string_view> tags = {"moved"};
  const std::string small = pattern(40);
  unsigned count = 0;
  while (store.set(numbered("small", count), small, [&] {
           SetOptions o = tagged(tags);
           o.evictable = false;
           return o;
         }())) {
    ++count;
  }
  for (unsigned i = 0; i != count; ++i) {
    if (i % 8 != 0) {
      ASSERT_TRUE(*store.del(numbered("small", i)));
    }
  }
  // Another size asks for the room in between.
  for (unsigned i = 0; i != 500; ++i) {
    (void)store.set(numbered("large", i), pattern(7'000));
    ASSERT_TRUE(store.tick(milliseconds(1)));
  }
  EXPECT_GT(store.stats().moves, 0u);
  EXPECT_EQ(removed_by(store, "moved"), (count + 7) / 8);
}

}  // namespace
}  // namespace tern::test
