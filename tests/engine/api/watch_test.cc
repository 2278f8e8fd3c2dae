// Watches: what is told, of which keys, in which order; gaps, tokens, initial contents, sleeping.
#include <tern/batch.h>
#include <tern/namespace.h>
#include <tern/regex.h>
#include <tern/store.h>
#include <tern/watch.h>

#include <poll.h>

#include <map>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

struct Told {
  ChangeKind kind;
  std::string key, value;
  std::uint64_t version = 0, lost = 0;
  bool initial = false;
};

// What a watch tells until it has nothing more.
std::vector<Told> drain(Watch& watch, std::size_t at_a_time = 64) {
  std::vector<Told> all;
  std::vector<Change> changes(at_a_time);
  for (;;) {
    const Result<std::size_t> n = watch.poll(changes);
    EXPECT_TRUE(n.ok()) << testing::PrintToString(n.error());
    if (!n || *n == 0) return all;
    for (const Change& c : std::span(changes).first(*n)) {
      all.push_back({c.kind, std::string(c.key), std::string(c.value), c.version, c.lost, c.initial});
    }
  }
}

std::string line(const Told& t) {
  static const char* const names[] = {"put", "delete", "expire", "evict", "invalidate", "gap", "synced", "progress"};
  std::string s = names[static_cast<unsigned>(t.kind)];
  if (t.initial) s = "initial " + s;
  if (!t.key.empty()) s += " " + t.key;
  if (!t.value.empty()) s += "=" + t.value;
  if (t.lost != 0) s += " " + std::to_string(t.lost);
  return s;
}
std::vector<std::string> lines(Watch& watch) {
  std::vector<std::string> out;
  for (const Told& t : drain(watch)) out.push_back(line(t));
  return out;
}
// Of several keys, whose changes have no order among each other: by key, each key's as they came.
std::vector<std::string> lines_by_key(Watch& watch) {
  std::map<std::string, std::vector<std::string>> by_key;
  for (const Told& t : drain(watch)) by_key[t.key].push_back(line(t));
  std::vector<std::string> out;
  for (const auto& [key, told] : by_key) out.insert(out.end(), told.begin(), told.end());
  return out;
}
using Lines = std::vector<std::string>;

Watch must(Result<Watch> watch) {
  EXPECT_TRUE(watch.ok()) << testing::PrintToString(watch.error());
  return std::move(*watch);
}

class WatchTest : public StoreTest {};
constexpr unsigned kShards = 4;  // of small_options()
constexpr std::string_view kTags[] = {"red", "blue"};

TEST_F(WatchTest, TellsEachChangeOfAKeyOnceAndInOrder) {
  Watch watch = must(store.watch_key("k"));
  EXPECT_EQ(lines(watch), Lines{});
  ASSERT_TRUE(store.set("k", "1").ok());
  ASSERT_TRUE(store.set("other", "x").ok());
  ASSERT_TRUE(store.set("k", "2").ok());
  ASSERT_TRUE(store.del("k").ok());
  ASSERT_TRUE(store.set("k", "").ok());
  EXPECT_EQ(lines(watch), (Lines{"put k=1", "put k=2", "delete k", "put k"}));
  EXPECT_EQ(lines(watch), Lines{});
  EXPECT_EQ(watch.lost(), 0u);
}

// Small ones are copied, as many as there is room for; the others' records are held.
TEST_F(WatchTest, WhatAPollAnswersStaysUntilTheNextWhateverItsSize) {
  for (const std::size_t size : {0u, 1u, 40u, 511u, 512u, 5000u, 20'000u}) {
    Watch watch = must(store.watch_prefix("k"));
    const auto value = [&](unsigned i) { return std::string(size, static_cast<char>('a' + i % 26)); };
    for (unsigned i = 0; i != 100; ++i) ASSERT_TRUE(store.set("k" + std::to_string(i), value(i), {.tags = kTags}).ok());
    std::vector<Change> changes(200);
    const Result<std::size_t> n = watch.poll(changes);
    ASSERT_TRUE(n.ok());
    ASSERT_EQ(*n, 100u) << size;
    // Everything is replaced and its memory used again, more than once.
    for (unsigned i = 0; i != 2'000; ++i) ASSERT_TRUE(store.set("k" + std::to_string(i % 100), std::string(size, '-')).ok());
    for (const Change& c : std::span(changes).first(*n)) {
      ASSERT_EQ(c.value, value(static_cast<unsigned>(std::stoul(std::string(c.key.substr(1)))))) << c.key << ' ' << size;
      ASSERT_EQ(c.tags, "\3red\4blue") << c.key << ' ' << size;
    }
  }
}

TEST_F(WatchTest, VersionsAreThoseOfGet) {
  Watch watch = must(store.watch_key("k"));
  const Result<std::uint64_t> version = store.set("k", "1");
  ASSERT_TRUE(version.ok());
  const auto told = drain(watch);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].version, *version);
  EXPECT_EQ(store.get_entry("k")->version, *version);
}

TEST_F(WatchTest, WhatWasThereBeforeIsNotTold) {
  ASSERT_TRUE(store.set("k", "before").ok());
  Watch watch = must(store.watch_prefix(""));
  ASSERT_TRUE(store.set("k", "after").ok());
  EXPECT_EQ(lines(watch), Lines{"put k=after"});
}

TEST_F(WatchTest, PrefixGlobAndExpressionChooseKeys) {
  Watch prefix = must(store.watch_prefix("app."));
  Watch glob = must(store.watch_glob("app.*.port"));
  for (const char* key : {"app.a.port", "app.b.c.port", "apple", "app."}) ASSERT_TRUE(store.set(key, "v").ok());
  EXPECT_EQ(lines(prefix).size(), 3u);
  EXPECT_EQ(lines(glob), Lines{"put app.a.port=v"});
  if (!Regex::supported()) return;
  Watch regex = must(store.watch_regex("app\\.[a-b]\\..*"));
  for (const char* key : {"app.a.port", "app.c.port", "app.b."}) ASSERT_TRUE(store.set(key, "w").ok());
  EXPECT_EQ(lines_by_key(regex), (Lines{"put app.a.port=w", "put app.b.=w"}));
}

TEST_F(WatchTest, BadArgumentsAreNamedAndChangeNothing) {
  const auto error = [](const Result<Watch>& w) { return w.error(); };
  EXPECT_EQ(error(store.watch_key("")), (Error{Status::kInvalidKey, Field::kKey}));
  EXPECT_EQ(error(store.watch_key(std::string(kKeyBytesMax + 1, 'k'))), (Error{Status::kTooLarge, Field::kKey}));
  EXPECT_EQ(error(store.watch_prefix(std::string(kKeyBytesMax + 1, 'k'))), (Error{Status::kTooLarge, Field::kKey}));
  EXPECT_EQ(error(store.watch_glob("a[")), (Error{Status::kInvalidArgument, Field::kPattern, 1}));
  EXPECT_EQ(error(store.watch_prefix("", {.kinds = 0})), (Error{Status::kInvalidArgument, Field::kKinds}));
  EXPECT_EQ(error(store.watch_prefix("", {.kinds = 1u << 8})), (Error{Status::kInvalidArgument, Field::kKinds}));
  EXPECT_EQ(error(store.watch_prefix("", {.resume = "?"})), (Error{Status::kInvalidArgument, Field::kResume}));
  EXPECT_EQ(error(store.watch_prefix("", {.initial = true, .resume = "?"})), (Error{Status::kInvalidArgument, Field::kResume}));
  EXPECT_EQ(store.stats().watches, 0u);
  store.close();
  EXPECT_EQ(error(store.watch_key("k")).status, Status::kClosed);
}

TEST_F(WatchTest, KindsAreChosen) {
  Watch removals = must(store.watch_prefix("", {.kinds = kind_bit(ChangeKind::kDelete) | kind_bit(ChangeKind::kExpire)}));
  Watch puts = must(store.watch_prefix("", {.kinds = kind_bit(ChangeKind::kPut)}));
  ASSERT_TRUE(store.set("a", "1").ok());
  ASSERT_TRUE(store.del("a").ok());
  ASSERT_TRUE(store.set("b", "1", {.ttl = 10ms}).ok());
  clock.advance(10ms);
  ASSERT_EQ(*store.cleanup_expired(), 1u);
  EXPECT_EQ(lines_by_key(removals), (Lines{"delete a", "expire b"}));
  EXPECT_EQ(lines_by_key(puts), (Lines{"put a=1", "put b=1"}));
}

TEST_F(WatchTest, WhatExpiresIsToldWhoeverRemovesIt) {
  Watch watch = must(store.watch_key("k"));
  ASSERT_TRUE(store.set("k", "1", {.ttl = 10ms}).ok());
  clock.advance(10ms);
  ASSERT_TRUE(store.del("k").ok());  // it finds nothing but what has expired
  ASSERT_TRUE(store.set("k", "2", {.ttl = 10ms}).ok());
  clock.advance(10ms);
  ASSERT_TRUE(store.set("k", "3").ok());  // its put says it all
  EXPECT_EQ(lines(watch), (Lines{"put k=1", "expire k", "put k=2", "put k=3"}));
}

TEST_F(WatchTest, NewDeadlinesAreNotTold) {
  Watch watch = must(store.watch_key("k"));
  ASSERT_TRUE(store.set("k", "1").ok());
  ASSERT_TRUE(store.expire("k", 1s).ok());   // another record
  ASSERT_TRUE(store.expire("k", 2s).ok());   // in place
  ASSERT_TRUE(store.persist("k").ok());
  ASSERT_TRUE(store.expire("k", 0s).ok());   // a removal
  EXPECT_EQ(lines(watch), (Lines{"put k=1", "expire k"}));
}

TEST_F(WatchTest, EveryWriteIsTold) {
  Watch watch = must(store.watch_key("k"));
  ASSERT_TRUE(store.set_nx("k", "1").ok());
  ASSERT_TRUE(store.set_nx("k", "no").ok());
  ASSERT_TRUE(store.increment("k", 4).ok());
  ASSERT_TRUE(store.append("k", "0").ok());
  ASSERT_TRUE(store.compare_and_swap("k", "no", "no").ok());
  ASSERT_TRUE(store.compare_and_swap("k", "50", "7").ok());
  ASSERT_TRUE(store.get_and_set("k", "8").found());
  ASSERT_TRUE(store.update("k", [](std::optional<std::string_view>) { return Update::replace("9"); }).ok());
  ASSERT_TRUE(store.get_and_del("k").found());
  const Item items[] = {{"k", "m", {}}};
  Result<std::uint64_t> versions[1];
  ASSERT_TRUE(store.set_many(items, versions).ok());
  const std::string_view keys[] = {"k"};
  Result<bool> removed[1];
  ASSERT_TRUE(store.del_many(keys, removed).ok());
  EXPECT_EQ(lines(watch), (Lines{"put k=1", "put k=5", "put k=50", "put k=7", "put k=8", "put k=9", "delete k", "put k=m", "delete k"}));
}

TEST_F(WatchTest, NegativeAnswersAreNoChangeButOverWhatHadExpired) {
  Watch watch = must(store.watch_prefix(""));
  const auto nothing = [](std::string_view) { return Loaded{Status::kNotFound, Value(), {}}; };
  (void)store.get_or_load("none", nothing, {.negative_ttl = 10ms});
  ASSERT_TRUE(store.set("was", "1", {.ttl = 5ms}).ok());
  clock.advance(5ms);
  (void)store.get_or_load("was", nothing, {.negative_ttl = 10ms});
  clock.advance(20ms);
  ASSERT_TRUE(store.cleanup_expired().ok());
  ASSERT_TRUE(store.set("none", "2").ok());
  EXPECT_EQ(lines_by_key(watch), (Lines{"put none=2", "put was=1", "expire was"}));
}

TEST_F(WatchTest, ABatchIsToldOnceItHasCommittedAndNeverIfItHasNot) {
  Watch watch = must(store.watch_prefix(""));
  ASSERT_TRUE(store.set("a", "0").ok());
  WriteBatch fails;
  fails.set("a", "1");
  fails.set("new", "1");
  fails.require_absent("a");
  EXPECT_EQ(store.write(fails).status(), Status::kConflict);
  WriteBatch batch;
  batch.set("b", "1");
  batch.del("a");
  batch.require_absent("asked");
  ASSERT_TRUE(store.write(batch).ok());
  EXPECT_EQ(lines_by_key(watch), (Lines{"put a=0", "delete a", "put b=1"}));
}

TEST_F(WatchTest, ABatchesRemovalOfWhatIsNotThereIsNotTold) {
  Watch watch = must(store.watch_prefix(""));
  ASSERT_TRUE(store.set("was", "1", {.ttl = 10ms}).ok());
  clock.advance(20ms);
  WriteBatch batch;
  batch.del("never");
  batch.del("was");
  batch.set("k", "1");
  ASSERT_TRUE(store.write(batch).ok());
  ASSERT_TRUE(store.write(batch).ok());  // now there is neither
  EXPECT_EQ(lines_by_key(watch), (Lines{"put k=1", "put k=1", "put was=1", "expire was"}));
}

// Where each position is filled again and again, too.
TEST(WatchGaps, RemovalsOfNothingTakeNoPositions) {
  ManualClock clock;
  Options options = small_options(&clock);
  options.shard_count = 1;
  options.ring_bytes = 1024;
  const Store store = open_or_fail(options);
  Watch watch = must(store.watch_prefix(""));
  std::uint64_t next = 0;
  Change change;
  for (int i = 0; i != 1000; ++i) {
    WriteBatch batch;
    for (int k = 0; k != 5; ++k) batch.del(numbered("none", i * 5 + k));
    batch.set("k", std::to_string(i));
    ASSERT_TRUE(store.write(batch).ok());
    WriteBatch fails;
    fails.del("k");
    fails.del("none");
    fails.require_present("none");
    ASSERT_EQ(store.write(fails).status(), Status::kConflict);
    const auto n = watch.poll({&change, 1});
    ASSERT_TRUE(n.ok() && *n == 1);
    ASSERT_EQ(change.kind, ChangeKind::kPut);
    ASSERT_EQ(change.sequence, next++);
  }
  EXPECT_EQ(*watch.poll({&change, 1}), 0u);
}

// One event a shard, and nothing for the keys; before what comes later, wherever that lies.
TEST_F(WatchTest, AClearIsOneEventOfEachShard) {
  const unsigned shards = kShards;
  for (int i = 0; i != 40; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v").ok());
  Watch watch = must(store.watch_prefix(""));
  Watch one = must(store.watch_key("k7"));
  ASSERT_TRUE(store.clear().ok());
  Watch later = must(store.watch_prefix(""));
  for (int i = 0; i != 40; i += 2) ASSERT_TRUE(store.set(numbered("k", i), "w").ok());
  while (store.stats().owed.invalidations != 0) ASSERT_TRUE(store.tick(1ms).ok());
  ASSERT_EQ(store.stats().entries, 20u);
  std::vector<unsigned> points(shards), puts(shards);
  std::vector<Change> changes(Watch::kPollMax);
  std::uint64_t stamp = 0;
  const std::size_t n = *watch.poll(changes);
  for (const Change& c : std::span(changes).first(n)) {
    if (c.kind == ChangeKind::kInvalidate) {
      EXPECT_EQ(c.scope, ChangeScope::kAll);
      EXPECT_EQ(puts[c.shard], 0u) << "told behind what came after it";
      EXPECT_TRUE(stamp == 0 || stamp == c.stamp);
      stamp = c.stamp;
      ++points[c.shard];
    } else {
      ASSERT_EQ(c.kind, ChangeKind::kPut);
      EXPECT_GT(c.stamp, stamp);
      ++puts[c.shard];
    }
  }
  EXPECT_EQ(points, std::vector<unsigned>(shards, 1));
  EXPECT_EQ(n, shards + 20);
  EXPECT_EQ(lines(one), Lines{"invalidate"});
  EXPECT_EQ(lines(later).size(), 20u);
  EXPECT_TRUE(whole(store));
}

// Without memory for those events the keys are told one by one, as they are buried.
TEST(WatchFull, AClearWithoutMemoryForItsEventsIsToldKeyByKey) {
  ManualClock clock;
  Options options = small_options(&clock);
  options.eviction = false;
  options.shard_count = 64;
  const Store store = open_or_fail(options);
  Watch watch = must(store.watch_prefix(""));
  std::size_t entries = 0;
  for (const std::size_t size : {1000u, 600u, 100u, 1u}) {
    while (store.set(numbered("k", static_cast<int>(entries)), std::string(size, 'v')).ok()) {
      ++entries;
      if (entries % 64 == 0) (void)drain(watch);
    }
  }
  (void)drain(watch);
  ASSERT_TRUE(store.clear().ok());
  std::size_t points = 0, removed = 0;
  for (bool more = true; more;) {
    more = store.stats().owed.invalidations != 0;
    ASSERT_TRUE(store.tick(100us).ok());
    for (const Told& t : drain(watch)) {
      points += t.kind == ChangeKind::kInvalidate;
      removed += t.kind == ChangeKind::kDelete;
    }
  }
  EXPECT_EQ(points, 0u);
  EXPECT_EQ(removed + watch.lost(), entries);
  EXPECT_GT(removed, 0u);
  EXPECT_EQ(store.stats().entries, 0u);
  EXPECT_TRUE(whole(store));
}

TEST_F(WatchTest, RemovalsOfManyKeysAreForThoseWhomTheyTouch) {
  ASSERT_TRUE(store.set("app.a", "1", {.tags = kTags}).ok());
  ASSERT_TRUE(store.set("app.b", "2").ok());
  ASSERT_TRUE(store.set("x", "3", {.tags = kTags}).ok());
  const Namespace ns = *store.ns("ns");
  ASSERT_TRUE(ns.set("app.a", "4").ok());
  Watch a = must(store.watch_key("app.a")), x = must(store.watch_key("x")), prefix = must(store.watch_prefix("app.")),
        below = must(store.watch_prefix("app.b.c")), glob = must(store.watch_glob("app.*")), other = must(store.watch_glob("b*")),
        named = must(ns.watch_key("app.a"));
  const auto all = [&] {
    std::vector<std::size_t> counts;
    for (Watch* w : {&a, &x, &prefix, &below, &glob, &other, &named}) {
      std::size_t n = 0;
      for (const Told& t : drain(*w)) n += t.kind == ChangeKind::kInvalidate ? 1u : 100u;
      counts.push_back(n);
    }
    return counts;
  };
  const std::size_t s = kShards;
  using Counts = std::vector<std::size_t>;
  ASSERT_TRUE(store.del_prefix("app.").ok());
  EXPECT_EQ(all(), (Counts{1, 0, s, s, s, 0, 0}));
  ASSERT_TRUE(store.del_prefix("app.a").ok());
  EXPECT_EQ(all(), (Counts{1, 0, s, 0, s, 0, 0}));
  ASSERT_TRUE(store.del_tag("red").ok());  // whose keys, nobody knows
  EXPECT_EQ(all(), (Counts{1, 1, s, s, s, s, 0}));
  ASSERT_TRUE(store.clear().ok());
  EXPECT_EQ(all(), (Counts{1, 1, s, s, s, s, 0}));
  ASSERT_TRUE(ns.del_prefix("app").ok());
  EXPECT_EQ(all(), (Counts{0, 0, 0, 0, 0, 0, 1}));
  ASSERT_TRUE(ns.clear().ok());
  EXPECT_EQ(all(), (Counts{0, 0, 0, 0, 0, 0, 1}));
  while (store.stats().owed.invalidations != 0) ASSERT_TRUE(store.tick(1ms).ok());
  EXPECT_EQ(all(), Counts(7, 0));
  EXPECT_TRUE(whole(store));
}

TEST_F(WatchTest, APutTellsItsTagsAndAPointItsScope) {
  Watch watch = must(store.watch_key("k"));
  ASSERT_TRUE(store.set("k", "v", {.tags = kTags}).ok());
  ASSERT_TRUE(store.del_tag("blue").ok());
  Change changes[4];
  ASSERT_EQ(*watch.poll(changes), 2u);
  EXPECT_TRUE(changes[0].has_tag("red") && changes[0].has_tag("blue"));
  EXPECT_FALSE(changes[0].has_tag("re") || changes[0].has_tag("") || changes[0].has_tag("red\4blue"));
  EXPECT_EQ(changes[1].kind, ChangeKind::kInvalidate);
  EXPECT_EQ(changes[1].scope, ChangeScope::kTag);
  EXPECT_EQ(changes[1].key, "blue");
  EXPECT_FALSE(changes[1].has_tag("blue"));
}

// Long prefixes, and as many points as there may be.
TEST_F(WatchTest, ManyPointsAndLongScopes) {
  Watch watch = must(store.watch_key("k"));
  const std::string prefix(kKeyBytesMax, 'k');
  ASSERT_TRUE(store.del_prefix(prefix).ok());
  ASSERT_TRUE(store.del_prefix(prefix.substr(0, 300)).ok());
  EXPECT_EQ(lines(watch), Lines{});
  for (int i = 0; i != 200; ++i) {
    ASSERT_TRUE(store.set("k", std::to_string(i)).ok());
    ASSERT_TRUE(store.clear().ok());
    EXPECT_EQ(lines(watch), (Lines{"put k=" + std::to_string(i), "invalidate"}));
  }
  while (store.stats().owed.invalidations != 0) ASSERT_TRUE(store.tick(1ms).ok());
  EXPECT_TRUE(whole(store));
  watch.close();
  EXPECT_TRUE(whole(store));
}

TEST_F(WatchTest, WhatAPointRemovedIsNoPreviousValue) {
  Watch watch = must(store.watch_prefix("", {.previous = true, .on_change_only = true}));
  Change changes[64];
  ASSERT_TRUE(store.set("k", "v").ok());
  ASSERT_EQ(*watch.poll(changes), 1u);
  ASSERT_TRUE(store.clear().ok());
  ASSERT_TRUE(store.set("k", "v").ok());
  ASSERT_EQ(*watch.poll(changes), kShards + 1);
  for (const Change& c : changes) {
    if (c.kind != ChangeKind::kPut || c.key != "k") continue;
    EXPECT_FALSE(c.has_previous);
    return;
  }
  FAIL() << "the second put isn't told";
}

TEST_F(WatchTest, KeysOnlyLeavesValuesOut) {
  Watch watch = must(store.watch_prefix("", {.keys_only = true}));
  ASSERT_TRUE(store.set("k", "v").ok());
  EXPECT_EQ(lines(watch), Lines{"put k"});
}

TEST_F(WatchTest, LongKeysAndValues) {
  Watch watch = must(store.watch_prefix("k"));
  const std::string key = "k" + std::string(40'000, 'x');
  const std::string value = pattern(100'000);
  ASSERT_TRUE(store.set(key, value).ok());
  ASSERT_TRUE(store.del(key).ok());
  ASSERT_TRUE(store.set("other", value).ok());
  const auto told = drain(watch);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_TRUE(told[0].key == key && told[0].value == value && told[0].kind == ChangeKind::kPut);
  EXPECT_TRUE(told[1].key == key && told[1].kind == ChangeKind::kDelete);
}

TEST_F(WatchTest, ValuesStayUntilTheNextPoll) {
  Watch watch = must(store.watch_key("k"));
  ASSERT_TRUE(store.set("k", "first").ok());
  Change c[2];
  ASSERT_EQ(*watch.poll(c), 1u);
  for (int i = 0; i != 10'000; ++i) ASSERT_TRUE(store.set("k", "later").ok());
  EXPECT_EQ(c[0].value, "first");
  EXPECT_EQ(c[0].key, "k");
}

TEST_F(WatchTest, CoalescedGivesTheLastOfAKey) {
  Watch watch = must(store.watch_prefix("", {.coalesce = true}));
  for (int i = 0; i != 50; ++i) ASSERT_TRUE(store.set("a", std::to_string(i)).ok());
  ASSERT_TRUE(store.set("b", "1").ok());
  ASSERT_TRUE(store.del("b").ok());
  EXPECT_EQ(lines_by_key(watch), (Lines{"put a=49", "delete b"}));
  EXPECT_EQ(watch.lost(), 0u);
}

// A version that grows without a change that is told passes nothing over.
TEST_F(WatchTest, CoalescedGivesTheLastThatIsTold) {
  const Lease lease = *store.lease(1h);
  Watch watch = must(store.watch_prefix("", {.coalesce = true}));
  for (const char* key : {"attached", "expiring", "held", "removed"}) ASSERT_TRUE(store.set(key, "v").ok());
  const auto view = store.view();  // what is removed keeps its place
  ASSERT_TRUE(*lease.attach("attached") && *store.expire("expiring", 1h) && *store.expire("held", 1h) && *store.del("removed"));
  const auto held = store.hold("held");
  WriteBatch batch;
  batch.del("removed");
  ASSERT_TRUE(store.write(batch).ok());
  EXPECT_EQ(lines_by_key(watch), (Lines{"put attached=v", "put expiring=v", "put held=v", "put removed=v", "delete removed"}));
}

// --- gaps ----------------------------------------------------------------------------------------------------------

Options tiny_rings(const Clock* clock, unsigned shards = 1, std::size_t cells = 8) {
  Options o = small_options(clock);
  o.shard_count = shards;
  o.ring_bytes = shards * cells * 64;
  return o;
}

TEST(WatchGaps, OneForEachOverrunWithTheCount) {
  ManualClock clock;
  Store store = open_or_fail(tiny_rings(&clock));
  Watch watch = must(store.watch_prefix(""));
  for (int i = 0; i != 20; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v").ok());
  auto told = drain(watch);
  ASSERT_EQ(told.size(), 9u);
  EXPECT_EQ(line(told[0]), "gap 12");
  EXPECT_EQ(line(told[1]), "put k12=v");
  EXPECT_EQ(watch.lost(), 12u);
  for (int i = 0; i != 8; ++i) ASSERT_TRUE(store.set(numbered("m", i), "v").ok());
  EXPECT_EQ(lines(watch).size(), 8u);
  EXPECT_EQ(watch.lost(), 12u);
  watch.close();
  EXPECT_TRUE(whole(store));
}

TEST(WatchGaps, ReplacedValuesPastTheShareGiveWay) {
  ManualClock clock;
  Options o = small_options(&clock);
  o.shard_count = 1;
  o.ring_bytes = 64 << 10;
  Store store = open_or_fail(o);
  Watch watch = must(store.watch_key("k"));
  const std::string value = pattern(4'000);
  constexpr int kSets = 2'000;  // the cells would have room for a thousand
  for (int i = 0; i != kSets; ++i) ASSERT_TRUE(store.set("k", value).ok());
  (void)store.tick(1s);
  // What lies in limbo isn't counted yet; that is bounded by itself.
  EXPECT_LE(store.stats().event_bytes, 3u * (64 << 10));
  const auto told = drain(watch);
  EXPECT_GT(told.size(), 5u);
  EXPECT_EQ(told.size() - 1 + watch.lost(), std::size_t{kSets});
  watch.close();
  EXPECT_TRUE(whole(store));
}

// What was passed waits for its grace period; until then it counts as gone, or each further write would pass what is left.
TEST(WatchGaps, PastTheShareOnlyAsMuchGivesWayAsHasTo) {
  ManualClock clock;
  Options o = small_options(&clock);
  o.shard_count = 1;
  o.ring_bytes = 64 << 10;
  Store store = open_or_fail(o);
  const std::string value = pattern(4'000);
  for (int sets = 300; sets != 460; sets += 8) {
    Watch watch = must(store.watch_key("k"));
    for (int i = 0; i != sets; ++i) ASSERT_TRUE(store.set("k", value).ok());
    EXPECT_GT(drain(watch).size(), 5u) << sets;  // of 14; half of it may go before it is known to be current
  }
  EXPECT_TRUE(whole(store));
}

TEST(WatchGaps, InsertedValuesOfAnySizeCostNothingUntilTheyAreReplaced) {
  ManualClock clock;
  Options o = small_options(&clock);
  o.shard_count = 1;
  o.ring_bytes = 64 << 10;
  Store store = open_or_fail(o);
  Watch watch = must(store.watch_prefix(""));
  const std::string value = pattern(5'000);
  for (int i = 0; i != 500; ++i) ASSERT_TRUE(store.set(numbered("k", i), value).ok());
  EXPECT_EQ(drain(watch).size(), 500u);
  EXPECT_EQ(watch.lost(), 0u);
}

TEST(WatchGaps, AFullStoreTellsEvictionsAndLosesNothingThatIsPolled) {
  ManualClock clock;
  Options o = small_options(&clock);
  o.memory_bytes = 8 * kMiB;
  Store store = open_or_fail(o);
  Watch watch = must(store.watch_prefix(""));
  std::map<std::string, std::uint64_t> present;  // key -> version
  std::uint64_t evicted = 0;
  const std::string value = pattern(1'000);
  std::vector<Change> changes(128);
  for (int i = 0; i != 30'000; ++i) {
    ASSERT_TRUE(store.set(numbered("k", i), value).ok()) << i;
    for (;;) {
      const auto n = watch.poll(changes);
      ASSERT_TRUE(n.ok());
      if (*n == 0) break;
      for (const Change& c : std::span(changes).first(*n)) {
        ASSERT_NE(c.kind, ChangeKind::kGap);
        if (c.kind == ChangeKind::kPut) {
          EXPECT_TRUE(present.emplace(c.key, c.version).second);
        } else {
          ASSERT_EQ(c.kind, ChangeKind::kEvict);
          EXPECT_EQ(present.erase(std::string(c.key)), 1u);
          ++evicted;
        }
      }
    }
  }
  EXPECT_GT(evicted, 10'000u);
  EXPECT_EQ(present.size(), store.stats().entries);
  watch.close();
  EXPECT_TRUE(whole(store));
}

TEST(WatchGaps, WithoutEvictionAFullStoreGivesEventsUpBeforeItRefuses) {
  ManualClock clock;
  Options o = small_options(&clock);
  o.memory_bytes = 4 * kMiB;
  o.eviction = false;
  o.ring_bytes = kMiB;
  Store store = open_or_fail(o);
  Watch watch = must(store.watch_prefix(""));
  const std::string value = pattern(1'000);
  int entries = 0;
  while (store.set(numbered("k", entries), value).ok()) ++entries;
  for (int round = 0; round != 3; ++round) {
    for (int i = 0; i != entries; ++i) {
      // Each is removed and comes back: what its events keep has to make room.
      ASSERT_TRUE(store.del(numbered("k", i)).ok()) << round << " " << i;
      ASSERT_TRUE(store.set(numbered("k", i), value).ok()) << round << " " << i;
    }
  }
  EXPECT_GT(store.stats().events_shortened, 0u);
  const auto told = drain(watch);
  EXPECT_GT(watch.lost(), 0u);
  std::uint64_t events = 0;
  for (const Told& t : told) events += t.kind != ChangeKind::kGap;
  EXPECT_EQ(events + watch.lost(), static_cast<std::uint64_t>(entries) * 7);
  watch.close();
  EXPECT_TRUE(whole(store));
}

// --- tokens, initial contents ----------------------------------------------------------------------------------------

TEST_F(WatchTest, ATokenGoesOnWhereItWasTaken) {
  Watch keeps_recording = must(store.watch_prefix(""));
  Watch first = must(store.watch_prefix("k"));
  ASSERT_TRUE(store.set("k1", "1").ok());
  EXPECT_EQ(lines(first), Lines{"put k1=1"});
  const Result<Value> token = first.token();
  ASSERT_TRUE(token.ok());
  first.close();
  ASSERT_TRUE(store.set("k2", "2").ok());
  Watch second = must(store.watch_prefix("k", {.resume = token->view()}));
  ASSERT_TRUE(store.set("k3", "3").ok());
  EXPECT_EQ(lines_by_key(second), (Lines{"put k2=2", "put k3=3"}));
}

TEST_F(WatchTest, ATokenOfARingThatWasOverrunIsCompacted) {
  ManualClock clock2;
  Store tiny = open_or_fail(tiny_rings(&clock2));
  Watch keeps_recording = must(tiny.watch_prefix(""));
  Watch first = must(tiny.watch_prefix(""));
  const Result<Value> token = first.token();
  ASSERT_TRUE(token.ok());
  for (int i = 0; i != 9; ++i) ASSERT_TRUE(tiny.set("k", "v").ok());
  EXPECT_EQ(tiny.watch_prefix("", {.resume = token->view()}).error(), (Error{Status::kCompacted, Field::kResume}));
  // Of another store.
  EXPECT_EQ(store.watch_prefix("", {.resume = token->view()}).error(), (Error{Status::kCompacted, Field::kResume}));
  // Nobody has watched since.
  const Result<Value> later = first.token();
  ASSERT_TRUE(later.ok());
  first.close();
  keeps_recording.close();
  EXPECT_EQ(tiny.watch_prefix("", {.resume = later->view()}).error(), (Error{Status::kCompacted, Field::kResume}));
  EXPECT_TRUE(whole(tiny));
}

TEST_F(WatchTest, InitialContentsThenEveryLaterChange) {
  for (int i = 0; i != 300; ++i) ASSERT_TRUE(store.set(numbered("k", i), "old").ok());
  ASSERT_TRUE(store.set("other", "x").ok());
  Watch watch = must(store.watch_prefix("k", {.initial = true}));
  // Between: what the view has is told as it was, and the changes after it.
  ASSERT_TRUE(store.set("k5", "new").ok());
  ASSERT_TRUE(store.del("k6").ok());
  ASSERT_TRUE(store.set("k300", "new").ok());
  std::map<std::string, std::string> mirror;
  unsigned initial = 0, synced = 0, later = 0;
  for (const Told& t : drain(watch, 7)) {
    if (t.kind == ChangeKind::kSynced) {
      ++synced;
      EXPECT_EQ(initial, 300u);
      continue;
    }
    if (t.initial) {
      ++initial;
      EXPECT_EQ(t.value, "old");
      EXPECT_EQ(synced, 0u);
    } else {
      ++later;
    }
    if (t.kind == ChangeKind::kPut) {
      mirror[t.key] = t.value;
    } else {
      mirror.erase(t.key);
    }
  }
  EXPECT_EQ(initial, 300u);
  EXPECT_EQ(synced, 1u);
  EXPECT_EQ(later, 3u);
  EXPECT_EQ(mirror.size(), 300u);
  EXPECT_EQ(mirror["k5"], "new");
  EXPECT_TRUE(mirror.contains("k300") && !mirror.contains("k6"));
  EXPECT_EQ(store.stats().views, 0u);
}

TEST_F(WatchTest, ClosingHalfWayThroughInitialContents) {
  for (int i = 0; i != 300; ++i) ASSERT_TRUE(store.set(numbered("k", i), "old").ok());
  Watch watch = must(store.watch_prefix("k", {.initial = true}));
  Change c[3];
  ASSERT_EQ(*watch.poll(c), 3u);
  EXPECT_EQ(watch.token().status(), Status::kUnavailable);
  watch.close();
  EXPECT_EQ(store.stats().views, 0u);
}

// --- sleeping, closing -------------------------------------------------------------------------------------------------

TEST_F(WatchTest, WaitSaysWhetherThereIsSomething) {
  Watch watch = must(store.watch_key("k"));
  EXPECT_FALSE(*watch.wait(0ms));
  ASSERT_TRUE(store.set("other", "1").ok());
  EXPECT_FALSE(*watch.wait(1ms));
  ASSERT_TRUE(store.set("k", "1").ok());
  EXPECT_TRUE(*watch.wait(0ms));
  EXPECT_TRUE(*watch.wait(0ms));
  EXPECT_EQ(lines(watch), Lines{"put k=1"});
}

TEST_F(WatchTest, AWriterWakesWhoeverWaits) {
  Watch watch = must(store.watch_key("k"));
  for (int round = 0; round != 20; ++round) {
    std::thread writer([&] { EXPECT_TRUE(store.set("k", std::to_string(round)).ok()); });
    EXPECT_TRUE(*watch.wait(1h));
    writer.join();
    EXPECT_EQ(lines(watch), Lines{"put k=" + std::to_string(round)});
  }
}

TEST_F(WatchTest, CloseOfTheStoreWakesAndEndsEverything) {
  Watch watch = must(store.watch_key("k"));
  const Watch listing = must(store.watch_key("k", {.initial = true}));
  std::thread closer([&] { store.close(); });
  EXPECT_EQ(watch.wait(1h).status(), Status::kClosed);
  closer.join();
  Change c[1];
  EXPECT_EQ(watch.poll(c).status(), Status::kClosed);
  EXPECT_EQ(watch.descriptor().status(), Status::kClosed);
  EXPECT_EQ(listing.token().status(), Status::kClosed);  // its initial contents are under way
  Watch none;
  EXPECT_EQ(none.poll(c).status(), Status::kClosed);
  EXPECT_EQ(none.lost(), 0u);
}

TEST_F(WatchTest, ADescriptorIsReadableWhileThereIsSomething) {
  Watch watch = must(store.watch_key("k"));
  const Result<int> d = watch.descriptor();
  ASSERT_TRUE(d.ok());
  const auto readable = [&](int ms) {
    pollfd p{*d, POLLIN, 0};
    return ::poll(&p, 1, ms) == 1;
  };
  EXPECT_EQ(lines(watch), Lines{});
  EXPECT_FALSE(readable(0));
  ASSERT_TRUE(store.set("k", "1").ok());
  EXPECT_TRUE(readable(0));
  EXPECT_EQ(lines(watch), Lines{"put k=1"});
  EXPECT_FALSE(readable(0));
  std::thread writer([&] { EXPECT_TRUE(store.set("k", "2").ok()); });
  EXPECT_TRUE(readable(60'000));
  writer.join();
}

TEST_F(WatchTest, AWatchKeepsItsStoreAndLeavesNothingBehind) {
  for (int i = 0; i != 3; ++i) {
    Watch watch = must(store.watch_prefix("", {.initial = i == 2}));
    for (int k = 0; k != 100; ++k) ASSERT_TRUE(store.set(numbered("k", k), "v").ok());
    Change c[16];
    ASSERT_TRUE(watch.poll(c).ok());
    EXPECT_EQ(store.stats().watches, 1u);
    Watch moved = std::move(watch);
    EXPECT_FALSE(watch.is_open());
    ASSERT_TRUE(moved.poll(c).ok());
  }
  EXPECT_EQ(store.stats().watches, 0u);
  EXPECT_EQ(store.stats().event_bytes, 0u);
  Watch last = must(store.watch_prefix(""));
  ASSERT_TRUE(store.set("k", "v").ok());
  store = Store();
  Change c[1];
  EXPECT_EQ(*last.poll(c), 1u);
}

TEST_F(WatchTest, RingsAreTakenAtTheFirstWatch) {
  (void)store.set("k", "v");
  const std::uint64_t before = store.stats().memory_used_bytes;
  { Watch watch = must(store.watch_key("k")); }
  const std::uint64_t with = store.stats().memory_used_bytes;
  EXPECT_GT(with, before);
  EXPECT_LE(with - before, 16 * kMiB / 64);
  { Watch watch = must(store.watch_key("k")); }
  EXPECT_EQ(store.stats().memory_used_bytes, with);
}

TEST(WatchOptionsTest, RingBytesAreChecked) {
  Options o = small_options();
  o.shard_count = 4;
  o.ring_bytes = 4 * 128 - 1;
  EXPECT_EQ(Store::open(o).error(), (Error{Status::kOutOfRange, Field::kRingBytes}));
  o.ring_bytes = 4 * kMiB + 1;
  EXPECT_EQ(Store::open(o).error(), (Error{Status::kOutOfRange, Field::kRingBytes}));
  o.ring_bytes = 4 * 128;
  EXPECT_TRUE(Store::open(o).ok());
}

}  // namespace
}  // namespace tern::test
