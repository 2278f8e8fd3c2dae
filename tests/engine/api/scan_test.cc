// Keys in order: by prefix, range, page and pattern, of a store with the ordered index and of one without.
#include <tern/pattern.h>
#include <tern/regex.h>
#include <tern/store.h>

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

using Names = std::vector<std::string>;

// Both kinds of store answer alike.
class ScanTest : public testing::TestWithParam<bool> {
 protected:
  ScanTest() : store(open_or_fail(options())) {}
  Options options() const {
    Options o = small_options(&clock);
    o.ordered = GetParam();
    o.eviction = false;
    return o;
  }
  void TearDown() override {
    if (store.is_open()) {
      EXPECT_TRUE(whole(store));
    }
  }
  void fill(std::initializer_list<const char*> keys) {
    for (const char* key : keys) ASSERT_TRUE(store.set(key, std::string("=") + key));
  }
  template <class From>
  Names scanned(const From& from, const ScanOptions& options) const {
    Names names;
    const Result<bool> r = from.scan(options, [&](std::string_view key, std::string_view value) {
      if (!options.keys_only) {
        EXPECT_EQ(value, "=" + std::string(key));
      }
      names.emplace_back(key);
      return true;
    });
    EXPECT_TRUE(r) << testing::PrintToString(r.error());
    return names;
  }
  template <class Answer>
  static Names names_of(const Answer& answer) {
    EXPECT_TRUE(answer) << testing::PrintToString(answer.error());
    return answer ? Names(answer->begin(), answer->end()) : Names();
  }

  ManualClock clock;
  Store store;
};
INSTANTIATE_TEST_SUITE_P(Store, ScanTest, testing::Bool(), [](const auto& kind) { return kind.param ? "Ordered" : "Unordered"; });

TEST_P(ScanTest, AnEmptyStoreHasNothing) {
  EXPECT_EQ(scanned(store, {}), Names());
  EXPECT_EQ(names_of(store.keys()), Names());
  EXPECT_EQ(*store.del_pattern("**"), 0u);
}

TEST_P(ScanTest, KeysComeInTheOrderOfTheirBytes) {
  const std::string zero("a\0b", 3), high("\xFF\xFE", 2);
  for (const std::string& key : {std::string("b"), high, std::string("a"), zero, std::string("ab"), std::string("B")}) {
    ASSERT_TRUE(store.set(key, "=" + key));
  }
  const Names all = {"B", "a", zero, "ab", "b", high};
  EXPECT_EQ(scanned(store, {}), all);
  EXPECT_EQ(scanned(store, {.reverse = true}), Names(all.rbegin(), all.rend()));
  EXPECT_EQ(names_of(store.keys()), all);
}

TEST_P(ScanTest, BoundsAndPrefixesTogether) {
  fill({"a", "b:1", "b:2", "b:3", "b", "b;", "c", "c:1"});
  EXPECT_EQ(scanned(store, {.prefix = "b:"}), (Names{"b:1", "b:2", "b:3"}));
  EXPECT_EQ(scanned(store, {.prefix = "b:", .reverse = true}), (Names{"b:3", "b:2", "b:1"}));
  EXPECT_EQ(scanned(store, {.from = "b", .to = "b;"}), (Names{"b", "b:1", "b:2", "b:3"}));
  EXPECT_EQ(scanned(store, {.from = "b:2", .to = "c:1", .reverse = true}), (Names{"c", "b;", "b:3", "b:2"}));
  EXPECT_EQ(scanned(store, {.prefix = "b", .from = "b:2"}), (Names{"b:2", "b:3", "b;"}));
  EXPECT_EQ(scanned(store, {.prefix = "b", .to = "b:2", .reverse = true}), (Names{"b:1", "b"}));
  EXPECT_EQ(scanned(store, {.after = "b:2", .limit = 2}), (Names{"b:3", "b;"}));
  EXPECT_EQ(scanned(store, {.after = "b:2", .limit = 2, .reverse = true}), (Names{"b:1", "b"}));
  EXPECT_EQ(scanned(store, {.from = "z"}), Names());
  EXPECT_EQ(scanned(store, {.from = "c", .to = "b"}), Names());
  EXPECT_EQ(scanned(store, {.prefix = "b", .to = "a"}), Names());
}

TEST_P(ScanTest, APrefixOfTheGreatestBytesHasNoSuccessor) {
  const std::string a("\xFF", 1), b("\xFF\xFF", 2), c("\xFF\xFF\x01", 3);
  for (const std::string& key : {a, b, c, std::string("x")}) ASSERT_TRUE(store.set(key, "=" + key));
  EXPECT_EQ(scanned(store, {.prefix = b, .reverse = true}), (Names{c, b}));
  EXPECT_EQ(scanned(store, {.prefix = a}), (Names{a, b, c}));
}

TEST_P(ScanTest, ACallbackStopsTheScanAndAPageGoesOnBehindIt) {
  fill({"a", "b", "c", "d", "e"});
  ScanCursor cursor;
  Names names;
  const auto two = [&](std::string_view key) {
    names.emplace_back(key);
    return names.size() % 2 != 0;
  };
  EXPECT_FALSE(*store.scan({}, cursor, two));
  EXPECT_EQ(cursor.key(), "b");
  ASSERT_TRUE(*store.del("c"));  // pages survive what happens between them
  fill({"bb", "a1"});
  EXPECT_FALSE(*store.scan({}, cursor, two));
  EXPECT_TRUE(*store.scan({}, cursor, two));
  EXPECT_TRUE(cursor.at_end());
  EXPECT_EQ(names, (Names{"a", "b", "bb", "d", "e"}));
  EXPECT_EQ(cursor.key(), "e");
  cursor.reset();
  EXPECT_FALSE(*store.scan({.limit = 1}, cursor, [](std::string_view) { return true; }));
  EXPECT_EQ(cursor.key(), "a");
}

TEST_P(ScanTest, AViewIsScannedAsItStood) {
  fill({"a", "b", "c"});
  Result<View> view = store.view();
  ASSERT_TRUE(view);
  ASSERT_TRUE(store.set("b", "changed"));
  ASSERT_TRUE(*store.del("c"));
  fill({"aa"});
  EXPECT_EQ(scanned(*view, {}), (Names{"a", "b", "c"}));
  EXPECT_EQ(names_of(store.keys()), (Names{"a", "aa", "b"}));
  view->close();
  EXPECT_EQ(view->iterate("", [](std::string_view, std::string_view) { return true; }).status(), Status::kClosed);
}

TEST_P(ScanTest, ASessionScansAsItsStore) {
  fill({"a", "b:1", "b:2", "c"});
  const Result<Session> session = store.session();
  ASSERT_TRUE(session);
  EXPECT_EQ(scanned(*session, {.prefix = "b:"}), (Names{"b:1", "b:2"}));
  EXPECT_EQ(names_of(session->keys("b:*")), (Names{"b:1", "b:2"}));
  ScanCursor cursor;
  EXPECT_FALSE(*session->scan({.limit = 3}, cursor, [](std::string_view) { return true; }));
  EXPECT_EQ(cursor.key(), "b:2");
  EXPECT_EQ(Session().keys().status(), Status::kClosed);
}

TEST_P(ScanTest, WhatHasExpiredIsNotShown) {
  ASSERT_TRUE(store.set("mortal", "=mortal", {.ttl = 10ms}));
  fill({"stays"});
  std::optional<milliseconds> ttl;
  ASSERT_TRUE(store.scan({.prefix = "m"}, [&](const ViewEntry& e) { return ttl = e.ttl, true; }));
  EXPECT_EQ(ttl, 10ms);
  clock.advance(10ms);
  EXPECT_EQ(scanned(store, {}), Names{"stays"});
}

TEST_P(ScanTest, CallbacksMayCallTheStore) {
  for (int i = 0; i != 500; ++i) ASSERT_TRUE(store.set(numbered("k", 1000u + static_cast<unsigned>(i)), pattern(100, static_cast<unsigned>(i))));
  unsigned shown = 0;
  const Result<bool> r = store.iterate("k", [&](std::string_view key, std::string_view value) {
    const std::string before(value), name(key);
    EXPECT_TRUE(*store.del(key));
    EXPECT_TRUE(store.set("new" + name, "v"));
    for (int i = 0; i != 20; ++i) EXPECT_TRUE(store.set("other", pattern(100)));
    EXPECT_EQ(value, before);
    EXPECT_EQ(key, name);
    ++shown;
    return store.scan({.prefix = "new", .limit = 3}, [](std::string_view) { return true; }).ok();
  });
  ASSERT_TRUE(r);
  EXPECT_TRUE(*r);
  EXPECT_EQ(shown, 500u);
  EXPECT_EQ(names_of(store.keys(ScanOptions{.prefix = "k"})), Names());
  EXPECT_EQ(store.keys()->size(), 501u);
}

TEST_P(ScanTest, LongKeys) {
  Names all;
  for (const std::size_t size : {1u, 103u, 104u, 254u, 255u, 256u, 5'000u, 9'000u, 40'000u, 65'527u}) {
    for (const char c : {'a', 'b'}) {
      std::string key(size, 'x');
      key.back() = c;
      all.push_back(key);
      ASSERT_TRUE(store.set(key, "=" + key)) << size;
    }
  }
  std::sort(all.begin(), all.end());
  EXPECT_EQ(scanned(store, {}), all);
  EXPECT_EQ(scanned(store, {.reverse = true}), Names(all.rbegin(), all.rend()));
  ScanCursor cursor;
  Names paged;
  while (!cursor.at_end()) {
    ASSERT_TRUE(store.scan({.limit = 3}, cursor, [&](std::string_view key) { return paged.emplace_back(key), true; }));
  }
  EXPECT_EQ(paged, all);
  for (const std::string& key : all) ASSERT_TRUE(*store.del(key));
  EXPECT_EQ(scanned(store, {}), Names());
}

TEST_P(ScanTest, Patterns) {
  fill({"app.config.port", "app.config.host", "app.log.level", "app.config", "app", "apple", "zoo.config.port"});
  EXPECT_EQ(names_of(store.keys("app.*.port")), Names{"app.config.port"});
  EXPECT_EQ(names_of(store.keys("app.config.**")), (Names{"app.config.host", "app.config.port"}));
  EXPECT_EQ(names_of(store.keys("*.config.{port,name}")), (Names{"app.config.port", "zoo.config.port"}));
  EXPECT_EQ(names_of(store.keys("app")), Names{"app"});
  EXPECT_EQ(names_of(store.keys("app*")), (Names{"app", "apple"}));
  EXPECT_EQ(names_of(store.keys("nothing.*")), Names());
  const auto broken = store.keys("app.[a");
  EXPECT_EQ(broken.error(), (Error{Status::kInvalidArgument, Field::kPattern, 4}));
  Names shown;
  EXPECT_TRUE(*store.get_pattern("app.*.l*", [&](std::string_view key, std::string_view value) {
    EXPECT_EQ(value, "=app.log.level");
    shown.emplace_back(key);
    return true;
  }));
  EXPECT_EQ(shown, Names{"app.log.level"});
  const Result<Pattern> p = Pattern::compile("app.**");
  EXPECT_EQ(scanned(store, {.prefix = "app.c", .pattern = &*p, .reverse = true}), (Names{"app.config.port", "app.config.host", "app.config"}));
  EXPECT_EQ(scanned(store, {.prefix = "zoo", .pattern = &*p}), Names());
}

TEST_P(ScanTest, RegularExpressions) {
  if (!Regex::supported()) GTEST_SKIP() << "a build without RE2";
  fill({"user:1", "user:12", "user:x", "user", "z"});
  const Result<Regex> r = Regex::compile("user:[0-9]+");
  ASSERT_TRUE(r);
  EXPECT_EQ(names_of(store.keys(*r)), (Names{"user:1", "user:12"}));
  const Result<Regex> loose = Regex::compile(".*[0-9x]");
  EXPECT_EQ(names_of(store.keys(*loose)), (Names{"user:1", "user:12", "user:x"}));
  EXPECT_EQ(*store.del_regex(*r), 2u);
  EXPECT_EQ(names_of(store.keys()), (Names{"user", "user:x", "z"}));
}

TEST_P(ScanTest, Subtrees) {
  fill({"a", "a.b", "a.b.c", "a!b", "a-b", "ab", "a.", "b"});
  Names shown;
  const auto show = [&](std::string_view key, std::string_view) { return shown.emplace_back(key), true; };
  EXPECT_TRUE(*store.get_subtree("a", show));
  EXPECT_EQ(shown, (Names{"a", "a.", "a.b", "a.b.c"}));
  EXPECT_EQ(scanned(store, {.subtree = "a", .reverse = true}), (Names{"a.b.c", "a.b", "a.", "a"}));
  ScanCursor cursor;
  Names paged;
  while (!cursor.at_end()) {
    ASSERT_TRUE(store.scan({.subtree = "a", .limit = 1}, cursor, [&](std::string_view key) { return paged.emplace_back(key), true; }));
  }
  EXPECT_EQ(paged, shown);
  EXPECT_EQ(*store.del_subtree("a.b"), 2u);
  EXPECT_EQ(*store.del_subtree("a"), 2u);
  EXPECT_EQ(*store.del_subtree("a", '!'), 1u);
  EXPECT_EQ(names_of(store.keys()), (Names{"a-b", "ab", "b"}));
  EXPECT_EQ(store.del_subtree("").error(), (Error{Status::kInvalidKey, Field::kKey}));
}

TEST_P(ScanTest, RemovalByPatternKeepsNoViewAndNoVersion) {
  for (int i = 0; i != 300; ++i) ASSERT_TRUE(store.set(numbered("a.", static_cast<unsigned>(i)), "v"));
  fill({"b.1"});
  EXPECT_EQ(*store.del_pattern("a.*"), 300u);
  EXPECT_EQ(names_of(store.keys()), Names{"b.1"});
  EXPECT_EQ(store.stats().views, 0u);
  EXPECT_EQ(store.stats().kept_versions, 0u);
}

// It is asked for the time before the view of a call is opened and, the second time, when that is open and nothing was looked at.
class ClockThatActs final : public Clock {
 public:
  milliseconds now() const noexcept override {
    if (then && ++asked_ == 2) {
      asked_ = 0;
      std::exchange(then, nullptr)();
    }
    return milliseconds(1'000'000);
  }
  mutable std::function<void()> then;

 private:
  mutable int asked_ = 0;
};

TEST_P(ScanTest, RemovalSparesWhatWasChangedSince) {
  ClockThatActs now;
  Options o = options();
  o.clock = &now;
  const Store s = open_or_fail(o);
  const auto refilled = [&] {
    for (unsigned i = 0; i != 100; ++i) ASSERT_TRUE(s.set(numbered("a.", i), "v"));
    now.then = [&] {
      EXPECT_TRUE(s.set("a.7", "changed"));
      EXPECT_TRUE(*s.del("a.8"));
      EXPECT_TRUE(*s.del("a.9"));
      EXPECT_TRUE(s.set("a.9", "v"));
      EXPECT_TRUE(s.set("a.new", "v"));
    };
  };
  const Names spared = {"a.7", "a.9", "a.new"};
  refilled();
  EXPECT_EQ(*s.del_pattern("a.*"), 97u);
  EXPECT_EQ(names_of(s.keys()), spared);
  EXPECT_EQ(s.get("a.7")->view(), "changed");
  refilled();
  EXPECT_EQ(*s.del_subtree("a"), 97u);
  EXPECT_EQ(names_of(s.keys()), spared);
  if (!Regex::supported()) return;
  refilled();
  EXPECT_EQ(*s.del_regex(*Regex::compile("a[.].*")), 97u);
  EXPECT_EQ(names_of(s.keys()), spared);
}

// One store serves the ways in which keys of entities are laid out: by the entity, by what it has, and all of it in one value.
TEST_P(ScanTest, EntitiesByTheirNamesAndByWhatTheyHave) {
  fill({"ent:1:hp", "ent:1:pos", "ent:12:hp", "ent:2:hp", "ent:2:name"});
  fill({"hp:ent:1", "hp:ent:12", "hp:ent:2", "name:ent:2", "pos:ent:1"});
  fill({"ent:1", "ent:2"});
  EXPECT_EQ(scanned(store, {.prefix = "ent:1:"}), (Names{"ent:1:hp", "ent:1:pos"}));
  EXPECT_EQ(scanned(store, {.subtree = "ent:2", .separator = ':'}), (Names{"ent:2", "ent:2:hp", "ent:2:name"}));
  EXPECT_EQ(scanned(store, {.prefix = "hp:"}), (Names{"hp:ent:1", "hp:ent:12", "hp:ent:2"}));
  EXPECT_EQ(names_of(store.keys("ent:*:hp", {.separator = ':'})), (Names{"ent:12:hp", "ent:1:hp", "ent:2:hp"}));
  EXPECT_EQ(names_of(store.keys("ent:*", {.separator = ':'})), (Names{"ent:1", "ent:2"}));
  EXPECT_EQ(*store.del_subtree("ent:1", ':'), 3u);
  EXPECT_EQ(names_of(store.keys("{ent:1,hp:ent:1}**", {.separator = ':'})), (Names{"ent:12:hp", "hp:ent:1", "hp:ent:12"}));
}

TEST_P(ScanTest, AClosedStoreSaysSo) {
  fill({"a"});
  store.close();
  EXPECT_EQ(store.iterate("", [](std::string_view) { return true; }).status(), Status::kClosed);
  EXPECT_EQ(store.keys().status(), Status::kClosed);
  EXPECT_EQ(store.del_pattern("*").status(), Status::kClosed);
}

TEST_P(ScanTest, AStoreThatIsClosedMeanwhileEndsTheScan) {
  for (unsigned i = 0; i != 500; ++i) ASSERT_TRUE(store.set(numbered("k", 1000 + i), "v"));
  unsigned shown = 0;
  const Result<bool> r = store.iterate("", [&](std::string_view key, std::string_view value) {
    store.close();
    EXPECT_EQ(key, numbered("k", 1000 + shown++));
    EXPECT_EQ(value, "v");
    return true;
  });
  EXPECT_EQ(r.status(), Status::kClosed);
  EXPECT_GT(shown, 0u);
  EXPECT_LE(shown, 64u);
}

// What was shown before was right; a page then begins where it stopped, on a view of its own.
TEST_P(ScanTest, AViewThatIsEndedMeanwhileEndsTheScan) {
  Options o = options();
  o.view_bytes_max = kMiB;
  const Store s = open_or_fail(o);
  constexpr unsigned kKeys = 20'000;
  for (unsigned i = 0; i != kKeys; ++i) ASSERT_TRUE(s.set(numbered("k", 100'000 + i), pattern(100)));
  for (const bool reverse : {false, true}) {
    ScanCursor cursor;
    unsigned shown = 0;
    const auto at = [&] { return reverse ? 100'000 + kKeys - 1 - shown : 100'000 + shown; };
    std::string expected = value_of(s, "k100000").value();
    const Result<bool> ended = s.scan({.reverse = reverse}, cursor, [&](std::string_view key, std::string_view value) {
      if (shown == 0) {
        for (unsigned i = 0; i != kKeys; ++i) EXPECT_TRUE(s.set(numbered("k", 100'000 + i), pattern(100, reverse ? 2 : 1)));
      }
      EXPECT_EQ(key, numbered("k", at()));
      EXPECT_EQ(value, expected);
      ++shown;
      return true;
    });
    EXPECT_EQ(ended.status(), Status::kViewExpired);
    EXPECT_GT(shown, 0u);
    EXPECT_LE(shown, 64u);
    expected = pattern(100, reverse ? 2 : 1);
    const Result<bool> rest = s.scan({.reverse = reverse}, cursor, [&](std::string_view key, std::string_view value) {
      EXPECT_EQ(key, numbered("k", at()));
      EXPECT_EQ(value, expected);
      ++shown;
      return true;
    });
    EXPECT_TRUE(rest && *rest);
    EXPECT_EQ(shown, kKeys);
  }
  EXPECT_GE(s.stats().views_ended, 2u);
  EXPECT_TRUE(whole(s));
}

TEST_P(ScanTest, WithoutAViewLeftItSaysWhy) {
  std::vector<View> views;
  for (unsigned i = 0; i != kViewsMax; ++i) {
    Result<View> v = store.view();
    ASSERT_TRUE(v);
    views.push_back(std::move(*v));
  }
  EXPECT_EQ(names_of(store.keys()), Names());  // the store's own are others
}

TEST_P(ScanTest, AllAgainstAModel) {
  std::minstd_rand random(7);
  std::map<std::string, std::string> model;
  for (int i = 0; i != 5'000; ++i) {
    std::string key;
    for (auto n = 1 + random() % 6; n != 0; --n) key += static_cast<char>("ab.\xFF"[random() % 4]);
    if (random() % 3 == 0) {
      EXPECT_EQ(*store.del(key), model.erase(key) != 0);
    } else {
      ASSERT_TRUE(store.set(key, "=" + key));
      model[key] = "=" + key;
    }
    if (i % 50 != 0) continue;
    std::string bound;
    for (auto n = random() % 4; n != 0; --n) bound += static_cast<char>("ab.\xFF"[random() % 4]);
    Names expected;
    for (const auto& [k, v] : model) {
      if (k.starts_with(bound)) expected.push_back(k);
    }
    ASSERT_EQ(scanned(store, {.prefix = bound}), expected);
    ASSERT_EQ(scanned(store, {.prefix = bound, .keys_only = true}), expected);
    ASSERT_EQ(scanned(store, {.prefix = bound, .reverse = true}), Names(expected.rbegin(), expected.rend()));
  }
}

// A write that finds no memory for its leaf, or for the node above, changes nothing.
TEST(OrderedStore, AFullStoreRefusesWithoutALeafLeft) {
  unsigned refused_batches = 0;
  for (const unsigned key_bytes : {12u, 300u, 4'000u}) {
    Options o = small_options();
    o.memory_bytes = 4 * kMiB;
    o.eviction = false;
    o.ordered = true;
    const Store store = open_or_fail(o);
    std::map<std::string, bool> there;
    unsigned refused = 0;
    std::minstd_rand random(key_bytes);
    for (unsigned i = 0; refused != 200; ++i) {
      ASSERT_LT(i, 1'000'000u);
      std::string key = std::to_string(random());
      key.resize(key_bytes, static_cast<char>('a' + i % 26));
      const auto r = store.set(key, "v");
      if (r) {
        there[key] = true;
      } else {
        ASSERT_EQ(r.status(), Status::kOutOfMemory);
        ++refused;
      }
    }
    // Of a batch all that came before goes again.
    for (unsigned n = 0; n != 20; ++n) {
      WriteBatch batch;
      batch.set(there.begin()->first, "w");
      for (unsigned k = 0; k != 40; ++k) batch.set(numbered("batch", n * 40 + k) + std::string(key_bytes, 'b'), "w");
      const Result<void> r = store.write(batch);
      if (r) {
        for (unsigned k = 0; k != 40; ++k) there[numbered("batch", n * 40 + k) + std::string(key_bytes, 'b')] = true;
        ASSERT_TRUE(store.set(there.begin()->first, "v"));
      } else {
        ASSERT_EQ(r.status(), Status::kOutOfMemory);
        ++refused_batches;
        ASSERT_EQ(value_of(store, there.begin()->first), "v");
      }
    }
    ASSERT_TRUE(whole(store));
    const auto shows_all = [&] {
      auto it = there.begin();
      const Result<bool> r = store.iterate("", [&](std::string_view key) { return it != there.end() && key == (it++)->first; });
      return r && *r && it == there.end();
    };
    EXPECT_TRUE(shows_all());
    for (auto it = there.begin(); it != there.end();) {
      if (random() % 2 == 0) {
        ++it;
        continue;
      }
      ASSERT_TRUE(*store.del(it->first));
      it = there.erase(it);
    }
    EXPECT_TRUE(shows_all());
    for (const auto& [key, yes] : there) ASSERT_TRUE(*store.del(key));
    ASSERT_TRUE(whole(store));
    EXPECT_EQ(store.keys()->size(), 0u);
    EXPECT_EQ(store.stats().entries, 0u);
    EXPECT_LT(store.stats().index_bytes, 64u << 10);  // nodes that found no memory for their smaller copy stay until they do
    ASSERT_TRUE(store.set("k", "v"));
    EXPECT_EQ(store.keys()->size(), 1u);
  }
  EXPECT_GT(refused_batches, 0u);
}

TEST(OrderedStore, EvictionTakesTheLeavesToo) {
  Options o = small_options();
  o.ordered = true;
  const Store store = open_or_fail(o);
  unsigned refused = 0;
  for (unsigned i = 0; i != 200'000; ++i) {
    if (!store.set(numbered("key:", i * 2'654'435'761u), pattern(i % 100))) ++refused;
    if (i % 1'000 == 0) {
      ASSERT_TRUE(store.tick(1000us));
    }
  }
  EXPECT_LE(refused, 1'000u);  // a write evicts so many and no more, and what goes may be of other sizes
  EXPECT_GT(store.stats().evicted, 50'000u);
  EXPECT_GT(store.stats().entries, 50'000u);
  ASSERT_TRUE(whole(store));
  EXPECT_EQ(store.keys()->size(), store.stats().entries);
}

TEST_P(ScanTest, WhatWasClearedIsNotShown) {
  for (unsigned i = 0; i != 2'000; ++i) ASSERT_TRUE(store.set(numbered(i % 2 != 0 ? "a:" : "b:", i), "v"));
  Result<View> view = store.view();
  ASSERT_TRUE(view);
  ASSERT_TRUE(store.del_prefix("a:"));
  EXPECT_EQ(store.keys()->size(), 1'000u);
  EXPECT_EQ(store.keys(ScanOptions{.prefix = "a:"})->size(), 0u);
  EXPECT_EQ(view->keys()->size(), 2'000u);
  fill({"a:1"});
  EXPECT_EQ(names_of(store.keys(ScanOptions{.prefix = "a:"})), Names{"a:1"});
  ASSERT_TRUE(store.clear());
  EXPECT_EQ(names_of(store.keys()), Names());
  EXPECT_EQ(view->keys(ScanOptions{.reverse = true})->size(), 2'000u);
  view->close();
  for (int i = 0; i != 1'000 && store.stats().index_bytes != 0; ++i) ASSERT_TRUE(store.tick(1000us));
  EXPECT_EQ(store.stats().index_bytes, 0u);
}

TEST(OrderedStore, SaysWhatTheIndexTakes) {
  Options o = small_options();
  o.ordered = true;
  const Store store = open_or_fail(o);
  EXPECT_EQ(store.stats().index_bytes, 0u);
  for (unsigned i = 0; i != 10'000; ++i) ASSERT_TRUE(store.set(numbered("key:", i), "v"));
  const std::uint64_t bytes = store.stats().index_bytes;
  EXPECT_GT(bytes, 10'000u * 28);
  EXPECT_LT(bytes, 10'000u * 80);
  EXPECT_LE(bytes, store.stats().record_bytes);
  for (unsigned i = 0; i != 10'000; ++i) ASSERT_TRUE(store.set(numbered("key:", i), "w"));
  EXPECT_EQ(store.stats().index_bytes, bytes);
}

}  // namespace
}  // namespace tern::test
