// Namespaces: the same keys in each, and nothing of one is seen through another; their own rules, figures and removals.
#include <tern/namespace.h>
#include <tern/regex.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

Namespace ns_or_fail(const Store& store, std::string_view name, const NamespaceOptions& options = {}) {
  Result<Namespace> r = store.ns(name, options);
  EXPECT_TRUE(r) << name << " " << testing::PrintToString(r.error());
  return *r;
}

using Contents = std::map<std::string, std::string>;

template <class Handle>
Contents contents(const Handle& handle, std::string_view prefix = {}) {
  Contents all;
  EXPECT_TRUE(handle.iterate(prefix, [&](std::string_view key, std::string_view value) {
    EXPECT_TRUE(all.emplace(key, value).second) << key;
    return true;
  }));
  return all;
}
Contents walked(const View& view) {
  Contents all;
  EXPECT_TRUE(view.for_each([&](std::string_view key, std::string_view value) { return all.emplace(key, value).second; }));
  return all;
}
template <class Handle>
std::vector<std::string> keys_of(const Handle& handle, std::string_view pattern) {
  std::vector<std::string> all;
  const Result<Keys> keys = handle.keys(pattern);
  EXPECT_TRUE(keys) << testing::PrintToString(keys.error());
  if (keys) {
    for (const std::string_view key : *keys) all.emplace_back(key);
  }
  return all;
}
void sweep(const Store& store) {
  for (int n = 0; n != 100'000 && store.stats().owed.invalidations != 0; ++n) ASSERT_TRUE(store.tick(milliseconds(1)));
  ASSERT_EQ(store.stats().owed.invalidations, 0u);
}

// With the ordered index and without.
class NamespaceTest : public testing::TestWithParam<bool> {
 protected:
  NamespaceTest() : store(open_or_fail(options())) {}
  void TearDown() override {
    if (store.is_open()) {
      EXPECT_TRUE(whole(store));
    }
  }
  Options options() const {
    Options o = small_options(&clock);
    o.ordered = GetParam();
    return o;
  }

  ManualClock clock;
  Store store;
};
INSTANTIATE_TEST_SUITE_P(Index, NamespaceTest, testing::Bool());

// Keys that look like what the store puts before others'.
const std::string kStrange[] = {
    "\xFF", std::string("\xFF\0\0", 3), std::string("\xFF\0\1", 3), std::string("\xFF\0\1key", 6), std::string("\xFF\0\0key", 6),
    "\xFF\xFF\xFFusers", "\xFF\xFF\xFE", std::string("\xFF\xFF\xFE\0\1", 5), std::string("\0", 1), "\xFE\xFF", "key",
};

TEST_P(NamespaceTest, HoldsItsOwnEntryUnderAKeyThatOthersHaveToo) {
  const Namespace users = ns_or_fail(store, "users"), system = ns_or_fail(store, "system");
  ASSERT_TRUE(store.set("key", "store"));
  ASSERT_TRUE(users.set("key", "users"));
  ASSERT_TRUE(system.set("key", "system"));
  EXPECT_EQ(value_of(store, "key"), "store");
  EXPECT_EQ(value_of(users, "key"), "users");
  EXPECT_EQ(value_of(system, "key"), "system");
  EXPECT_TRUE(*users.del("key"));
  EXPECT_EQ(value_of(users, "key"), std::nullopt);
  EXPECT_EQ(value_of(store, "key"), "store");
  EXPECT_EQ(value_of(system, "key"), "system");
  EXPECT_EQ(users.size(), 0u);
  EXPECT_EQ(system.size(), 1u);
}

TEST_P(NamespaceTest, TakesAnyBytesForAKeyAndTheDefaultOneStillDoes) {
  const Namespace users = ns_or_fail(store, "users");
  Contents mine, theirs;
  for (const std::string& key : kStrange) {
    ASSERT_TRUE(store.set(key, mine[key] = "store:" + key));
    ASSERT_TRUE(users.set(key, theirs[key] = "users:" + key));
  }
  for (const std::string& key : kStrange) {
    EXPECT_EQ(value_of(store, key), mine[key]);
    EXPECT_EQ(value_of(users, key), theirs[key]);
  }
  EXPECT_EQ(contents(store), mine);
  EXPECT_EQ(contents(users), theirs);
  EXPECT_EQ(walked(*store.view()), mine);
  EXPECT_EQ(walked(*users.view()), theirs);
  EXPECT_EQ(*store.view()->size(), mine.size());
  EXPECT_EQ(users.size(), theirs.size());
  for (const std::string& prefix : kStrange) {
    const auto starts = [&](const auto& entry) { return !entry.first.starts_with(prefix); };
    Contents some = mine, others = theirs;
    std::erase_if(some, starts);
    std::erase_if(others, starts);
    EXPECT_EQ(contents(store, prefix), some);
    EXPECT_EQ(contents(users, prefix), others);
    EXPECT_EQ(contents(*store.view(), prefix), some);
  }
  // A session is the default namespace too.
  const Result<Session> session = store.session();
  for (const std::string& key : kStrange) EXPECT_EQ(value_of(*session, key), mine[key]);
}

TEST_P(NamespaceTest, AnswersEveryCallAsAStoreOfItsOwnDoes) {
  const Namespace users = ns_or_fail(store, "users");
  const Store alone = open_or_fail(options());
  // What others have under the same keys changes no answer.
  ASSERT_TRUE(store.set("key", "17"));
  for (const std::string_view key : {std::string_view("key"), std::string_view(""), std::string_view("\xFFkey")}) {
    for (int round = 0; round != 2; ++round) {
      const Answers got = every_keyed_call(users, key), expected = every_keyed_call(alone, key);
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t i = 0; i != got.size(); ++i) EXPECT_EQ(got[i].second, expected[i].second) << got[i].first << " " << key;
    }
  }
  const Answers got = every_many_call(users), expected = every_many_call(alone);
  for (std::size_t i = 0; i != got.size(); ++i) EXPECT_EQ(got[i].second, expected[i].second) << got[i].first;
  EXPECT_EQ(value_of(store, "key"), "17");
}

TEST_P(NamespaceTest, BoundsTheCallersKeyAndNotTheOneThatIsStored) {
  const Namespace users = ns_or_fail(store, "users");
  for (const std::size_t size : {std::size_t{1}, std::size_t{61}, std::size_t{101}, std::size_t{102}, std::size_t{254},
                                 std::size_t{255}, std::size_t{256}, kKeyBytesMax - 1, kKeyBytesMax}) {
    for (const char first : {'k', '\xFF'}) {
      const std::string key = first + pattern(size - 1);
      ASSERT_TRUE(users.set(key, "users")) << size;
      ASSERT_TRUE(store.set(key, "store")) << size;
      EXPECT_EQ(value_of(users, key), "users");
      EXPECT_EQ(value_of(store, key), "store");
      const std::string_view keys[] = {key};
      Values values;
      ASSERT_TRUE(users.get_many(keys, values));
      EXPECT_TRUE(values[0]);
      EXPECT_TRUE(*users.exists(key));
    }
  }
  EXPECT_EQ(users.size(), 18u);
  for (const std::size_t more : {1u, 3u, 4u, 100u}) {
    const std::string long_key = "k" + std::string(kKeyBytesMax - 1 + more, 'x');
    const Error too_large{Status::kTooLarge, Field::kKey};
    for (const auto& [call, error] : every_keyed_call(users, long_key)) {
      if (std::string_view(call) != "get token") {
        EXPECT_EQ(error, too_large) << call;
      }
    }
    const std::string_view keys[] = {long_key, "\xFFgood", ""};
    Result<std::uint64_t> versions[3];
    const Item items[] = {{keys[0], "v", {}}, {keys[1], "v", {}}, {keys[2], "v", {}}};
    const auto check = [&](const auto& handle) {
      ASSERT_TRUE(handle.set_many(items, versions));
      EXPECT_EQ(versions[0].error(), too_large);
      EXPECT_TRUE(versions[1]);
      EXPECT_EQ(versions[2].error(), (Error{Status::kInvalidKey, Field::kKey}));
      char out[3 * 8];
      Lookup<std::size_t> sizes[3];
      ASSERT_TRUE(handle.get_many(keys, out, 8, sizes));
      EXPECT_EQ(sizes[0].error(), too_large);
      EXPECT_TRUE(sizes[1]);
      EXPECT_EQ(sizes[2].error(), (Error{Status::kInvalidKey, Field::kKey}));
      Values values;
      ASSERT_TRUE(handle.get_many(keys, values));
      EXPECT_EQ(values[0].error(), too_large);
      EXPECT_TRUE(values[1]);
      Result<bool> removed[3];
      ASSERT_TRUE(handle.del_many(keys, removed));
      EXPECT_EQ(removed[0].error(), too_large);
      EXPECT_TRUE(*removed[1]);
      WriteBatch batch;
      batch.set("fine", "v");
      batch.set(long_key, "v");
      EXPECT_EQ(handle.write(batch).error(), too_large);
      EXPECT_EQ(batch.failed(), 1u);
    };
    check(users);
    check(store);
  }
}

TEST_P(NamespaceTest, ClearsItsOwnEntriesAtOneMoment) {
  const Namespace users = ns_or_fail(store, "users"), system = ns_or_fail(store, "system");
  const std::string_view tags[] = {"tag"};
  for (unsigned i = 0; i != 500; ++i) {
    for (const auto& h : {users, system}) ASSERT_TRUE(h.set(numbered("k", i), "v", SetOptions{.tags = tags}));
    ASSERT_TRUE(store.set(numbered("k", i), "v"));
    ASSERT_TRUE(store.set(numbered("\xFF", i), "v"));
  }
  ASSERT_TRUE(users.clear());
  EXPECT_TRUE(contents(users).empty());
  EXPECT_EQ(value_of(users, "k1"), std::nullopt);
  EXPECT_EQ(contents(system).size(), 500u);
  EXPECT_EQ(contents(store).size(), 1'000u);
  ASSERT_TRUE(users.set("k1", "again"));
  ASSERT_TRUE(users.del_tag("tag"));
  EXPECT_EQ(contents(system).size(), 500u);
  ASSERT_TRUE(store.del_tag("tag"));
  EXPECT_EQ(contents(system).size(), 500u);
  ASSERT_TRUE(system.del_prefix("k49"));
  EXPECT_EQ(contents(system).size(), 489u);
  EXPECT_EQ(contents(store).size(), 1'000u);
  ASSERT_TRUE(store.del_prefix("\xFF"));
  EXPECT_EQ(contents(store).size(), 500u);
  ASSERT_TRUE(store.clear());
  EXPECT_TRUE(contents(store).empty());
  EXPECT_EQ(contents(system).size(), 489u);
  EXPECT_EQ(contents(users), (Contents{{"k1", "again"}}));
  sweep(store);
  EXPECT_EQ(users.size(), 1u);
  EXPECT_EQ(system.size(), 489u);
  // It is still there, and still knows its name.
  EXPECT_EQ(value_of(*store.ns("users"), "k1"), "again");
  ASSERT_TRUE(system.del_prefix(""));
  sweep(store);
  EXPECT_EQ(system.size(), 0u);
  EXPECT_EQ(system.stats().bytes, 0u);
}

TEST_P(NamespaceTest, ListsItselfByPatternsSubtreesRangesAndPages) {
  const Namespace users = ns_or_fail(store, "users", {.separator = '/'});
  for (const auto key : {"a", "a/b", "a/b/c", "a.b", "a0", "b/c"}) {
    ASSERT_TRUE(users.set(key, "users"));
    ASSERT_TRUE(store.set(std::string(key) + "!", "store"));
  }
  EXPECT_EQ(keys_of(users, "a/*"), (std::vector<std::string>{"a/b"}));
  EXPECT_EQ(keys_of(users, "a/**"), (std::vector<std::string>{"a/b", "a/b/c"}));
  EXPECT_EQ(keys_of(users, "**"), (std::vector<std::string>{"a", "a.b", "a/b", "a/b/c", "a0", "b/c"}));
  EXPECT_EQ(keys_of(users, "a"), (std::vector<std::string>{"a"}));
  EXPECT_EQ(keys_of(*users.view(), "*"), (std::vector<std::string>{"a", "a.b", "a0"}));
  std::vector<std::string> seen;
  const auto see = [&](std::string_view key) {
    seen.emplace_back(key);
    return true;
  };
  EXPECT_TRUE(*users.get_subtree("a", see));
  EXPECT_EQ(std::exchange(seen, {}), (std::vector<std::string>{"a", "a/b", "a/b/c"}));
  EXPECT_TRUE(*users.scan({.from = "a/", .to = "b", .reverse = true}, see));
  EXPECT_EQ(std::exchange(seen, {}), (std::vector<std::string>{"a0", "a/b/c", "a/b"}));
  EXPECT_TRUE(*users.scan({.reverse = true}, see));
  EXPECT_EQ(std::exchange(seen, {}), (std::vector<std::string>{"b/c", "a0", "a/b/c", "a/b", "a.b", "a"}));
  EXPECT_TRUE(*store.scan({.reverse = true}, see));
  EXPECT_EQ(std::exchange(seen, {}), (std::vector<std::string>{"b/c!", "a0!", "a/b/c!", "a/b!", "a.b!", "a!"}));
  ScanCursor cursor;
  for (unsigned pages = 0; !cursor.at_end() && pages != 10; ++pages) ASSERT_TRUE(users.scan({.limit = 4}, cursor, see));
  EXPECT_EQ(std::exchange(seen, {}).size(), 6u);
  EXPECT_EQ(cursor.key(), "b/c");
  if (Regex::supported()) {
    const Result<Regex> regex = Regex::compile("a[0/].*|a0");
    ASSERT_TRUE(regex);
    EXPECT_TRUE(*users.get_regex(*regex, see));
    EXPECT_EQ(std::exchange(seen, {}), (std::vector<std::string>{"a/b", "a/b/c", "a0"}));
    EXPECT_EQ(*users.del_regex(*regex), 3u);
    EXPECT_EQ(*users.del_subtree("b"), 1u);
    EXPECT_EQ(*users.del_pattern("a*"), 2u);
    EXPECT_EQ(users.size(), 0u);
  }
  EXPECT_EQ(contents(store).size(), 6u);
}

TEST_P(NamespaceTest, WritesItsBatchesAtOneMoment) {
  const Namespace users = ns_or_fail(store, "users");
  ASSERT_TRUE(store.set("a", "store"));
  WriteBatch batch;
  batch.require_absent("a");
  batch.set("a", "1");
  batch.set("\xFF", "2");
  batch.del("c");
  ASSERT_TRUE(users.set("c", "3"));
  ASSERT_TRUE(users.write(batch));
  EXPECT_EQ(contents(users), (Contents{{"a", "1"}, {"\xFF", "2"}}));
  EXPECT_EQ(users.size(), 2u);
  EXPECT_EQ(users.write(batch).status(), Status::kConflict);
  EXPECT_EQ(batch.failed(), 0u);
  // The same batch elsewhere.
  EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  ASSERT_TRUE(store.del("a"));
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(contents(store), (Contents{{"a", "1"}, {"\xFF", "2"}}));
  WriteBatch when, then, otherwise;
  when.require_present("nothing");
  when.require_value("a", "1");
  then.set("a", "then");
  otherwise.set("\xFF", "otherwise");
  EXPECT_FALSE(*users.transact(when, then, otherwise));
  EXPECT_EQ(contents(users), (Contents{{"a", "1"}, {"\xFF", "otherwise"}}));
  EXPECT_EQ(contents(store), (Contents{{"a", "1"}, {"\xFF", "2"}}));
}

TEST_P(NamespaceTest, ShowsAMomentAndKeepsIt) {
  const Namespace users = ns_or_fail(store, "users");
  ASSERT_TRUE(users.set("a", "1"));
  ASSERT_TRUE(store.set("a", "store"));
  Result<View> view = users.view();
  ASSERT_TRUE(view);
  ASSERT_TRUE(users.set("a", "2"));
  ASSERT_TRUE(users.set("b", "2"));
  ASSERT_TRUE(users.clear());
  View moved = std::move(*view);
  EXPECT_EQ(value_of(moved, "a"), "1");
  EXPECT_EQ(contents(moved), (Contents{{"a", "1"}}));
  EXPECT_EQ(walked(moved), (Contents{{"a", "1"}}));
  EXPECT_EQ(*moved.size(), 1u);
  EXPECT_TRUE(*moved.exists("a"));
  EXPECT_EQ(moved.get_entry("a")->value.view(), "1");
  const std::string_view keys[] = {"a", "b", ""};
  Values values;
  ASSERT_TRUE(moved.get_many(keys, values));
  EXPECT_EQ(*values[0], "1");
  EXPECT_TRUE(values[1].missing());
  EXPECT_EQ(values[2].status(), Status::kInvalidKey);
  EXPECT_EQ(value_of(*store.view(), "a"), "store");
}

std::vector<std::string> told(Watch& watch) {
  std::vector<std::string> all;
  Change changes[64];
  const Result<std::size_t> n = watch.poll(changes);
  EXPECT_TRUE(n);
  for (const Change& c : std::span(changes).first(n ? *n : 0)) {
    if (c.kind == ChangeKind::kPut) all.push_back(std::string(c.key) + "=" + std::string(c.value));
    if (c.kind == ChangeKind::kDelete) all.push_back(std::string(c.key) + " deleted");
  }
  std::sort(all.begin(), all.end());
  return all;
}

TEST_P(NamespaceTest, TellsItsOwnChanges) {
  const Namespace users = ns_or_fail(store, "users", {.separator = '/'});
  ASSERT_TRUE(users.set("a/0", "there"));
  ASSERT_TRUE(store.set("a/0", "store"));
  Result<Watch> all = users.watch_prefix("", {.initial = true}), key = users.watch_key("a/1"), glob = users.watch_glob("a/*"),
                mine = store.watch_prefix(""), marked = store.watch_key("\xFF\xFFx"), latest = users.watch_prefix("", {.coalesce = true});
  for (const Result<Watch>* w : {&all, &key, &glob, &mine, &marked, &latest}) ASSERT_TRUE(*w);
  EXPECT_EQ(told(*all), (std::vector<std::string>{"a/0=there"}));
  ASSERT_TRUE(users.set("a/1", "1"));
  ASSERT_TRUE(users.set("a/1", "2"));
  ASSERT_TRUE(users.set("a/b/c", "3"));
  ASSERT_TRUE(store.set("a/1", "store"));
  ASSERT_TRUE(store.set("\xFF\xFFx", "strange"));
  ASSERT_TRUE(users.del("a/0"));
  ASSERT_TRUE(store.ns("another"));  // what it takes to make one is nobody's
  EXPECT_EQ(told(*all), (std::vector<std::string>{"a/0 deleted", "a/1=1", "a/1=2", "a/b/c=3"}));
  EXPECT_EQ(told(*key), (std::vector<std::string>{"a/1=1", "a/1=2"}));
  EXPECT_EQ(told(*glob), (std::vector<std::string>{"a/0 deleted", "a/1=1", "a/1=2"}));
  EXPECT_EQ(told(*mine), (std::vector<std::string>{"a/1=store", "\xFF\xFFx=strange"}));
  EXPECT_EQ(told(*marked), (std::vector<std::string>{"\xFF\xFFx=strange"}));
  EXPECT_EQ(told(*latest), (std::vector<std::string>{"a/0 deleted", "a/1=2", "a/b/c=3"}));
}

TEST_P(NamespaceTest, FoldsChecksAndNormalisesKeysIfItIsToldTo) {
  const Namespace folds = ns_or_fail(store, "folds", {.fold_case = true});
  ASSERT_TRUE(folds.set("App.Port", "1"));
  EXPECT_EQ(value_of(folds, "aPP.pORT"), "1");
  EXPECT_EQ(contents(folds, "APP"), (Contents{{"app.port", "1"}}));
  EXPECT_EQ(keys_of(folds, "APP.*"), (std::vector<std::string>{"app.port"}));
  const std::string_view keys[] = {"APP.PORT", "app.port"};
  Values values;
  ASSERT_TRUE(folds.get_many(keys, values));
  EXPECT_TRUE(values[0] && values[1]);
  Result<Watch> watch = folds.watch_key("APP.PORT");
  ASSERT_TRUE(watch);
  ASSERT_TRUE(folds.set("app.PORT", "2"));
  EXPECT_EQ(told(*watch), (std::vector<std::string>{"app.port=2"}));
  EXPECT_EQ(*folds.del_subtree("APP"), 1u);
  ASSERT_TRUE(folds.set("X1", "v"));
  ASSERT_TRUE(folds.del_prefix("X"));
  EXPECT_TRUE(folds.get("x1").missing());

  // Bounds, watches and views too.
  for (const char* key : {"A1", "b2", "C3", "_x", "ax"}) ASSERT_TRUE(folds.set(key, "v"));
  const auto scanned = [](const auto& from, const ScanOptions& options) {
    std::vector<std::string> seen;
    EXPECT_TRUE(from.scan(options, [&](std::string_view key) { return seen.emplace_back(key), true; }));
    return seen;
  };
  EXPECT_EQ(scanned(folds, {.from = "A1", .to = "C"}), (std::vector<std::string>{"a1", "ax", "b2"}));
  EXPECT_EQ(scanned(folds, {.after = "AX"}), (std::vector<std::string>{"b2", "c3"}));
  EXPECT_EQ(scanned(folds, {.prefix = "A", .reverse = true}), (std::vector<std::string>{"ax", "a1"}));
  Result<Watch> prefix = folds.watch_prefix("B"), glob = folds.watch_glob("B?");
  ASSERT_TRUE(prefix && glob);
  ASSERT_TRUE(folds.set("B2", "w"));
  EXPECT_EQ(told(*prefix), (std::vector<std::string>{"b2=w"}));
  EXPECT_EQ(told(*glob), (std::vector<std::string>{"b2=w"}));
  const Result<View> view = folds.view();
  ASSERT_TRUE(view);
  EXPECT_EQ(value_of(*view, "B2"), "w");
  EXPECT_EQ(scanned(*view, {.prefix = "B"}), (std::vector<std::string>{"b2"}));
  if (Regex::supported()) {
    // An expression is for the keys as they are kept, and its bounds don't lie among folded ones.
    const Regex kept = *Regex::compile("[A_]x"), folded = *Regex::compile("[A_]x", {.fold_case = true}), none = *Regex::compile("A1");
    EXPECT_EQ(scanned(folds, {.regex = &kept}), (std::vector<std::string>{"_x"}));
    EXPECT_EQ(scanned(folds, {.regex = &folded}), (std::vector<std::string>{"_x", "ax"}));
    EXPECT_EQ(scanned(folds, {.regex = &none}), (std::vector<std::string>{}));
    EXPECT_EQ(*folds.del_regex(kept), 1u);
  }
  EXPECT_EQ(*folds.del_pattern("[A-B]*"), 3u);

  const Namespace checks = ns_or_fail(store, "checks", {.separator = '/', .check_paths = true});
  char into[8];
  EXPECT_EQ(checks.get("a//b", std::span<char>(into)).error(), (Error{Status::kInvalidKey, Field::kKey, 2}));
  EXPECT_EQ(checks.set("a//b", "v").error(), (Error{Status::kInvalidKey, Field::kKey, 2}));
  EXPECT_EQ(checks.get("/a").error(), (Error{Status::kInvalidKey, Field::kKey, 0}));
  EXPECT_TRUE(checks.set("a/b", "v"));
  WriteBatch batch;
  batch.set("a/c", "v");
  batch.set("a/", "v");
  EXPECT_EQ(checks.write(batch).status(), Status::kInvalidKey);
  EXPECT_EQ(batch.failed(), 1u);
  EXPECT_EQ(checks.size(), 1u);

  const Namespace normal = ns_or_fail(store, "normal", {.separator = '/', .fold_case = true, .normalise_paths = true});
  ASSERT_TRUE(normal.set("//A//b/", "v"));
  EXPECT_EQ(value_of(normal, "a/B"), "v");
  EXPECT_EQ(contents(normal), (Contents{{"a/b", "v"}}));
  EXPECT_EQ(normal.set("//", "v").error(), (Error{Status::kInvalidKey, Field::kKey}));
  std::vector<std::string> seen;
  EXPECT_TRUE(*normal.get_subtree("/A/", [&](std::string_view key) {
    seen.emplace_back(key);
    return true;
  }));
  EXPECT_EQ(seen, (std::vector<std::string>{"a/b"}));
}

TEST_P(NamespaceTest, SaysWhatIsWrongWithAName) {
  const auto error = [&](std::string_view name, const NamespaceOptions& o = {}) { return store.ns(name, o).error(); };
  EXPECT_EQ(error(""), (Error{Status::kInvalidArgument, Field::kName}));
  EXPECT_EQ(error(std::string(64, 'n')), (Error{Status::kTooLarge, Field::kName}));
  EXPECT_TRUE(store.ns(std::string(63, 'n')));
  EXPECT_EQ(error("x", {.separator = '*'}), (Error{Status::kInvalidArgument, Field::kSeparator}));
  EXPECT_EQ(error("x", {.separator = 'a'}), (Error{Status::kInvalidArgument, Field::kSeparator}));
  EXPECT_EQ(error("x", {.check_paths = true, .normalise_paths = true}), (Error{Status::kInvalidArgument, Field::kNormalisePaths}));
  EXPECT_EQ(error("x", {.share_percent = 101}), (Error{Status::kOutOfRange, Field::kSharePercent}));

  const NamespaceOptions as{.separator = ':', .fold_case = true, .normalise_paths = true, .share_percent = 30};
  ASSERT_TRUE(store.ns("there", as));
  EXPECT_TRUE(store.ns("there", as));
  const Result<Namespace> whatever = store.ns("there");
  ASSERT_TRUE(whatever);
  EXPECT_EQ(whatever->name(), "there");
  EXPECT_EQ(whatever->options().separator, ':');
  EXPECT_EQ(whatever->options().share_percent, 30u);
  const auto differs = [&](auto change, Field field) {
    NamespaceOptions o = as;
    change(o);
    EXPECT_EQ(error("there", o), (Error{Status::kInvalidArgument, field}));
  };
  differs([](NamespaceOptions& o) { o.separator = '/'; }, Field::kSeparator);
  differs([](NamespaceOptions& o) { o.fold_case = false; }, Field::kFoldCase);
  differs([](NamespaceOptions& o) { o.normalise_paths = false; }, Field::kNormalisePaths);
  differs([](NamespaceOptions& o) { o.normalise_paths = false, o.check_paths = true; }, Field::kCheckPaths);
  differs([](NamespaceOptions& o) { o.share_percent = 31; }, Field::kSharePercent);
  EXPECT_TRUE(store.ns("rest", {.share_percent = 70}));
  EXPECT_EQ(error("more", {.share_percent = 1}), (Error{Status::kOutOfRange, Field::kSharePercent}));
  EXPECT_TRUE(store.ns("more"));
}

TEST_P(NamespaceTest, AreAThousandAndTwentyFourAndNoMore) {
  std::vector<Namespace> all;
  for (unsigned i = 0; i != kNamespacesMax; ++i) {
    all.push_back(ns_or_fail(store, numbered("n", i)));
    ASSERT_TRUE(all.back().set("key", numbered("v", i)));
  }
  EXPECT_EQ(store.ns("more").error(), (Error{Status::kTooLarge, Field::kNamespaces}));
  for (unsigned i = 0; i != kNamespacesMax; ++i) {
    EXPECT_EQ(value_of(all[i], "key"), numbered("v", i));
    EXPECT_EQ(all[i].size(), 1u);
  }
  EXPECT_EQ(contents(all[1'000]), (Contents{{"key", "v1000"}}));
  EXPECT_EQ(contents(all.back()).size(), 1u);
  EXPECT_TRUE(contents(store).empty());
  EXPECT_TRUE(store.ns("n77"));
  const Stats s = store.stats();
  EXPECT_EQ(s.namespaces, kNamespacesMax);
  EXPECT_EQ(s.namespace_entries, 3u * kNamespacesMax + 1);
  EXPECT_EQ(s.entries, s.namespace_entries);
}

TEST_P(NamespaceTest, CountsWhatItHasAndWhatWasAskedOfIt) {
  const Namespace users = ns_or_fail(store, "users");
  ASSERT_TRUE(users.set("a", pattern(100)));
  const std::uint64_t small = users.stats().bytes;
  EXPECT_GE(small, 100u);
  ASSERT_TRUE(users.set("a", pattern(5'000)));
  EXPECT_GE(users.stats().bytes, 5'000u);
  ASSERT_TRUE(users.set("a", pattern(100)));
  EXPECT_EQ(users.stats().bytes, small);
  ASSERT_TRUE(users.set("b", pattern(100), SetOptions{.ttl = 1s}));
  ASSERT_TRUE(users.append("c", "x"));
  ASSERT_TRUE(users.increment("d"));
  EXPECT_EQ(users.size(), 4u);
  clock.advance(2s);
  ASSERT_TRUE(store.cleanup_expired());
  EXPECT_EQ(users.size(), 3u);
  ASSERT_TRUE(users.set(std::string(200, 'k'), pattern(200'000)));
  EXPECT_GE(users.stats().bytes, 200'000u);
  ASSERT_TRUE(users.clear());
  sweep(store);
  EXPECT_EQ(users.size(), 0u);
  EXPECT_EQ(users.stats().bytes, 0u);
  char buffer[8];
  EXPECT_FALSE(users.get("a"));
  EXPECT_FALSE(users.get("a", std::span<char>(buffer)));
  EXPECT_FALSE(*users.exists("a"));
  ASSERT_TRUE(users.set("a", "v"));
  EXPECT_TRUE(users.get("a", std::span<char>(buffer)));
  EXPECT_TRUE(users.hold("a"));
  EXPECT_EQ(users.stats().hits, 2u);
  EXPECT_EQ(users.stats().misses, 3u);
}

TEST_P(NamespaceTest, OutlivesTheHandlesAndEndsWithTheStore) {
  Result<Namespace> users = store.ns("users");
  ASSERT_TRUE(users->set("a", "1"));
  users = store.ns("users");
  EXPECT_EQ(value_of(*users, "a"), "1");
  const Namespace kept = *users;
  store.close();
  EXPECT_EQ(kept.get("a").status(), Status::kClosed);
  EXPECT_EQ(kept.set("a", "1").status(), Status::kClosed);
  EXPECT_EQ(store.ns("users").status(), Status::kClosed);
  EXPECT_EQ(Namespace().get("a").status(), Status::kClosed);
  EXPECT_EQ(kept.view().status(), Status::kClosed);
}

TEST_P(NamespaceTest, GivesLoadersAndHooksTheKeysThatTheirOwnersKnow) {
  struct Told {
    std::vector<std::string> removed;
  } told_of;
  Options o = options();
  o.on_removed = [](void* user, std::string_view key, std::string_view, RemovalCause) {
    static_cast<Told*>(user)->removed.emplace_back(key);
  };
  o.on_removed_user = &told_of;
  const Store hooked = open_or_fail(o);
  const Namespace users = ns_or_fail(hooked, "users");
  std::string asked;
  const auto load = [&](std::string_view key) {
    asked = key;
    return Loaded{Status::kOk, Value("loaded"), {}};
  };
  ASSERT_TRUE(users.get_or_load("a", load));
  EXPECT_EQ(asked, "a");
  ASSERT_TRUE(hooked.get_or_load("\xFF", load));
  EXPECT_EQ(asked, "\xFF");
  EXPECT_EQ(value_of(users, "a"), "loaded");
  ASSERT_TRUE(users.del("a"));
  ASSERT_TRUE(hooked.del("\xFF"));
  EXPECT_EQ(told_of.removed, (std::vector<std::string>{"\xFF"}));
  Result<Draft> draft = users.allocate("draft", 3);
  ASSERT_TRUE(draft);
  std::copy_n("abc", 3, draft->bytes().data());
  ASSERT_TRUE(draft->publish());
  EXPECT_EQ(value_of(users, "draft"), "abc");
  EXPECT_TRUE(hooked.get("draft").missing());
}

// --- files -----------------------------------------------------------------------------------------------------------

TEST_P(NamespaceTest, AreInASnapshotWithTheirRules) {
  const std::string path = testing::TempDir() + "tern_namespaces_" + std::to_string(GetParam()) + ".snapshot";
  const NamespaceOptions as{.separator = '/', .fold_case = true, .share_percent = 40};
  {
    const Namespace users = ns_or_fail(store, "users", as), system = ns_or_fail(store, "system");
    for (unsigned i = 0; i != 300; ++i) {
      ASSERT_TRUE(users.set(numbered("User/", i), numbered("u", i)));
      ASSERT_TRUE(store.set(numbered("user/", i), numbered("s", i)));
    }
    ASSERT_TRUE(system.set("\xFFkey", "system"));
    ASSERT_TRUE(store.set("\xFFkey", "store"));
    ASSERT_TRUE(store.save(path));
  }
  for (const bool copy : {true, false}) {
    SnapshotOptions how;
    how.copy = copy;
    Result<Store> opened = Store::open(path, options(), how);
    ASSERT_TRUE(opened) << testing::PrintToString(opened.error());
    const Namespace more = ns_or_fail(*opened, "more", {.share_percent = 60});
    ASSERT_TRUE(more.set("user/1", "more"));
    EXPECT_EQ(opened->ns("users", {}).error(), (Error{Status::kInvalidArgument, Field::kSeparator}));
    EXPECT_EQ(opened->ns("one", {.share_percent = 1}).error(), (Error{Status::kOutOfRange, Field::kSharePercent}));
    const Namespace users = ns_or_fail(*opened, "users", as), system = ns_or_fail(*opened, "system");
    EXPECT_EQ(value_of(users, "USER/17"), "u17");
    EXPECT_EQ(contents(users).size(), 300u);
    EXPECT_EQ(contents(system), (Contents{{"\xFFkey", "system"}}));
    EXPECT_EQ(contents(*opened).size(), 301u);
    EXPECT_EQ(value_of(*opened, "\xFFkey"), "store");
    EXPECT_EQ(users.size(), 300u);
    EXPECT_EQ(system.size(), 1u);
    ASSERT_TRUE(users.clear());
    sweep(*opened);
    EXPECT_EQ(users.size(), 0u);
    EXPECT_EQ(users.stats().bytes, 0u);
    EXPECT_EQ(contents(*opened).size(), 301u);
    EXPECT_EQ(contents(more), (Contents{{"user/1", "more"}}));
    EXPECT_TRUE(whole(*opened));
  }
  std::remove(path.c_str());
}

// --- shares of the budget ------------------------------------------------------------------------------------------

struct Settled {
  std::uint64_t small = 0, large = 0, rest = 0;  // bytes; of the rest, entries
};

// Each writes new keys without end, and the rest of the store four times as many.
Settled hammer(unsigned small_percent, unsigned large_percent, unsigned rounds) {
  ManualClock clock;
  const Store store = open_or_fail(small_options(&clock));
  const Namespace small = ns_or_fail(store, "small", {.share_percent = small_percent});
  const Namespace large = ns_or_fail(store, "large", {.share_percent = large_percent});
  const std::string value = pattern(200);
  for (unsigned i = 0; i != rounds; ++i) {
    EXPECT_TRUE(small.set(numbered("key:", i), value));
    EXPECT_TRUE(large.set(numbered("key:", i), value));
    for (unsigned n = 0; n != 4; ++n) EXPECT_TRUE(store.set(numbered("key:", 4 * i + n), value));
    if (i % 64 == 0) {
      EXPECT_TRUE(store.tick(std::chrono::hours(1)));  // all that is owed, however long it takes
    }
  }
  EXPECT_TRUE(whole(store));
  const Stats s = store.stats();
  EXPECT_GT(s.evicted, rounds);
  EXPECT_GT(small.stats().evicted, 0u);
  return {small.stats().bytes, large.stats().bytes, s.entries - s.namespace_entries};
}

TEST(NamespaceShareTest, AFullStoreSettlesNearTheShares) {
  const Settled s = hammer(25, 75, 60'000);
  const double part = static_cast<double>(s.small) / static_cast<double>(s.small + s.large);
  EXPECT_NEAR(part, 0.25, 0.03);
  // Who has no share keeps what he is about to lose.
  EXPECT_LT(s.rest * 300, (s.small + s.large) / 20);
  EXPECT_GT(s.small + s.large, 8 * kMiB);
}

TEST(NamespaceShareTest, TheRestIsForThoseWithoutAShare) {
  const Settled s = hammer(20, 30, 60'000);
  EXPECT_NEAR(static_cast<double>(s.small) / static_cast<double>(s.large), 2.0 / 3, 0.08);
  const double rest = static_cast<double>(s.rest) * 290;  // about: a key of 10 bytes, a value of 200
  EXPECT_GT(rest, 0.3 * static_cast<double>(s.small + s.large + s.rest * 290));
  EXPECT_LT(rest, 0.65 * static_cast<double>(s.small + s.large + s.rest * 290));
}

TEST(NamespaceShareTest, WhatOneDoesNotUseIsTheOthersAndWhatIsWithinItsShareStays) {
  ManualClock clock;
  const Store store = open_or_fail(small_options(&clock));
  const Namespace quiet = ns_or_fail(store, "quiet", {.share_percent = 50});
  const std::string value = pattern(200);
  for (unsigned i = 0; i != 2'000; ++i) ASSERT_TRUE(quiet.set(numbered("key:", i), value));  // half a MiB
  for (unsigned i = 0; i != 150'000; ++i) ASSERT_TRUE(store.set(numbered("key:", i), value));
  EXPECT_EQ(quiet.size(), 2'000u);
  EXPECT_EQ(quiet.stats().evicted, 0u);
  for (unsigned i = 0; i != 2'000; ++i) ASSERT_TRUE(*quiet.exists(numbered("key:", i)));
  const Stats s = store.stats();
  EXPECT_GT((s.entries - s.namespace_entries) * 290, s.memory_bytes / 2);
  EXPECT_TRUE(whole(store));
}

TEST(NamespaceShareTest, SharesOfASnapshotHoldBeforeAnybodyOpensTheNamespace) {
  const std::string path = testing::TempDir() + "tern_namespace_shares.snapshot";
  const std::string value = pattern(200);
  ManualClock clock;
  {
    const Store store = open_or_fail(small_options(&clock));
    const Namespace quiet = ns_or_fail(store, "quiet", {.share_percent = 50});
    for (unsigned i = 0; i != 2'000; ++i) ASSERT_TRUE(quiet.set(numbered("key:", i), value));
    ASSERT_TRUE(store.save(path));
  }
  for (const bool copy : {true, false}) {
    SnapshotOptions how;
    how.copy = copy;
    const Result<Store> store = Store::open(path, small_options(&clock), how);
    ASSERT_TRUE(store) << testing::PrintToString(store.error());
    ASSERT_TRUE(store->tick(std::chrono::hours(1)));  // all of it is there
    for (unsigned i = 0; i != 100'000; ++i) ASSERT_TRUE(store->set(numbered("key:", i), value));
    EXPECT_GT(store->stats().evicted, 0u);
    EXPECT_EQ(store->ns("quiet")->size(), 2'000u);
    EXPECT_TRUE(whole(*store));
  }
  std::remove(path.c_str());
}

TEST(NamespaceShareTest, ANamespaceWithoutAShareIsOfTheRest) {
  ManualClock clock;
  const Store store = open_or_fail(small_options(&clock));
  ASSERT_TRUE(store.ns("any", {.share_percent = 10}));
  const Namespace late = ns_or_fail(store, "late");
  const std::string value = pattern(200);
  for (unsigned i = 0; i != 100'000; ++i) ASSERT_TRUE(late.set(numbered("key:", i), value));
  EXPECT_GT(late.stats().evicted, 0u);
  EXPECT_EQ(late.size() + late.stats().evicted, 100'000u);
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
