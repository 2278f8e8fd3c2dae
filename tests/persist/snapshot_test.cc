// What a snapshot keeps, and what its users may rely on.
#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <thread>
#include <vector>

#include "tests/persist/snapshot_fixture.h"

namespace tern::test {
namespace {

void fill_with_everything(const Store& store) {
  ASSERT_TRUE(store.set("empty", "").ok());
  ASSERT_TRUE(store.set("k", "v").ok());
  ASSERT_TRUE(store.set(std::string("a\0b", 3), std::string("\0\0", 2)).ok());
  for (const std::size_t size : {1u, 253u, 254u, 255u, 256u, 4'000u, 65'527u}) {
    ASSERT_TRUE(store.set(pattern(size, 1), "of a key of " + std::to_string(size)).ok());
  }
  for (const std::size_t size : {7u, 8u, 9u, 8'000u, 16'360u, 16'361u, 70'000u, 262'142u, 262'143u, 1'000'000u}) {
    ASSERT_TRUE(store.set("value" + std::to_string(size), pattern(size, 2)).ok());
  }
  // A long key and a long value at once, both outside of the record in the arena.
  ASSERT_TRUE(store.set(pattern(40'000, 3), pattern(300'000, 3)).ok());
  for (unsigned i = 0; i != 50; ++i) ASSERT_TRUE(store.increment("counter", 3).ok());
  ASSERT_TRUE(store.set("mortal", "m", {.ttl = 60s}).ok());
  ASSERT_TRUE(store.set("mortal long", pattern(300'000, 4), {.ttl = 90s}).ok());
  ASSERT_TRUE(store.set("idle", "i", {.idle = 127s}).ok());
  ASSERT_TRUE(store.set("touched", "t", {.ttl = 1s}).ok());
  ASSERT_TRUE(store.expire("touched", 3'600s).ok());
  ASSERT_TRUE(store.set("immortal again", "p", {.ttl = 1s}).ok());
  ASSERT_TRUE(store.persist("immortal again").ok());
  ASSERT_TRUE(store.set("kept", "never evicted", {.evictable = false}).ok());
  ASSERT_TRUE(store.set("gone", "x").ok());
  ASSERT_TRUE(store.del("gone").ok());
  for (unsigned i = 0; i != 3'000; ++i) ASSERT_TRUE(store.set(numbered("n", i), numbered("value ", i)).ok());
}

TEST_F(SnapshotTest, EverythingComesBackAsItWas) {
  Options options = small_options(&clock);
  Store store = open_or_fail(options);
  fill_with_everything(store);
  const Contents before = contents_of(store);
  const SaveReport saved = save_or_fail(store);
  EXPECT_EQ(saved.entries, before.size());
  EXPECT_EQ(saved.generation, 1u);
  EXPECT_EQ(saved.bytes, std::filesystem::file_size(path));
  EXPECT_TRUE(whole(store));

  ManualClock other;  // another life, another clock
  other.advance(12'345ms);
  options.clock = &other;
  const Store again = reopen_or_fail(options);
  EXPECT_EQ(report.entries, before.size());
  EXPECT_EQ(report.expired, 0u);
  EXPECT_EQ(contents_of(again), before);
  EXPECT_TRUE(whole(again));
  EXPECT_EQ(again.stats().unevictable, 1u);
  EXPECT_EQ(again.stats().expiring, store.stats().expiring);
  // An idle time goes on being one.
  other.advance(100s);
  EXPECT_TRUE(again.get("idle").found());
  other.advance(100s);
  EXPECT_TRUE(again.get("idle").found());
  other.advance(128s);
  EXPECT_TRUE(again.get("idle").missing());
  EXPECT_TRUE(again.get("mortal").missing());
  EXPECT_TRUE(again.get("touched").found());
  // 60 s, 90 s and the idle one have passed.
  EXPECT_EQ(*again.cleanup_expired(), 3u);
}

// Entries with tags of every kind and place: short, the most, in records alone and beside extents, with other words.
unsigned fill_with_tags(const Store& store) {
  const std::string_view red[] = {"red"};
  std::vector<std::string> many;
  for (unsigned i = 0; i != 16; ++i) many.push_back("red" + std::to_string(i));
  many[7] = "red";
  const std::vector<std::string_view> sixteen(many.begin(), many.end());
  const std::string longest(255, 'r');
  const std::string_view of_bytes[] = {longest, std::string_view("\0\1", 2), "red", longest};
  const std::string_view blue[] = {"blue", "re", "redd"};
  EXPECT_TRUE(store.set("r1", "v", {.tags = red}).ok());
  EXPECT_TRUE(store.set("r2", "", {.ttl = 60s, .tags = sixteen}).ok());
  EXPECT_TRUE(store.set("r3", "v", {.idle = 127s, .tags = of_bytes}).ok());
  EXPECT_TRUE(store.set(pattern(300, 5), pattern(300, 5), {.evictable = false, .tags = red}).ok());
  EXPECT_TRUE(store.set("r4", pattern(16'300), {.tags = of_bytes}).ok());   // on the edge of a block of its own
  EXPECT_TRUE(store.set("r5", pattern(300'000), {.tags = of_bytes}).ok());  // in an extent
  EXPECT_TRUE(store.set(pattern(40'000, 6), pattern(300'000, 6), {.ttl = 90s, .tags = red}).ok());
  for (unsigned i = 0; i != 500; ++i) EXPECT_TRUE(store.set(numbered("t", i), pattern(i), {.tags = i % 2 == 0 ? std::span(red) : std::span<const std::string_view>(blue)}).ok());
  EXPECT_TRUE(store.set("plain", "red").ok());
  return 7 + 250;  // that are red
}

TEST_F(SnapshotTest, TagsComeBackWhole) {
  Options options = small_options(&clock);
  const Store store = open_or_fail(options);
  const unsigned red = fill_with_tags(store);
  const Contents before = contents_of(store);
  save_or_fail(store);
  std::map<std::string, std::vector<std::string>> first, second;
  const auto read_tags = [&](auto& into) {
    EXPECT_TRUE(*read_snapshot(path, [&](const SnapshotEntry& e) {
      into[std::string(e.key)].assign(e.tags.begin(), e.tags.end());
      return true;
    }));
  };
  read_tags(first);
  EXPECT_EQ(first["r1"], std::vector<std::string>{"red"});
  EXPECT_EQ(first["r2"].size(), 16u);
  EXPECT_EQ(first["r3"], (std::vector<std::string>{std::string(255, 'r'), std::string("\0\1", 2), "red", std::string(255, 'r')}));
  EXPECT_EQ(first["r5"], first["r3"]);
  EXPECT_TRUE(first["plain"].empty());
  for (const bool copy : {true, false}) {
    options.shard_count = copy ? 4 : 2;
    const Store again = reopen_or_fail(options, {.own = false, .copy = copy});
    EXPECT_EQ(contents_of(again), before);
    ASSERT_TRUE(again.append("r1", "+").ok());  // a change of the value keeps them
    save_or_fail(again, {.keep = 1});
    second.clear();
    read_tags(second);
    EXPECT_EQ(second, first) << "and in the next file";
    ASSERT_TRUE(again.del_tag("red").ok());
    EXPECT_EQ(contents_of(again).size(), before.size() - red);
    EXPECT_TRUE(again.get("plain").found());
    EXPECT_TRUE(again.get("t1").found());
    EXPECT_TRUE(again.get("r5").missing());
    EXPECT_TRUE(whole(again));
    save_or_fail(store, {.keep = 1});
  }
}

// Metadata alone, and beside tags, lifetimes, long keys and values.
unsigned fill_with_metadata(const Store& store) {
  const std::string_view red[] = {"red", "blue"};
  const std::string most = pattern(kMetadataBytesMax, 9);
  EXPECT_TRUE(store.set("m1", "v", {.metadata = "a"}).ok());
  EXPECT_TRUE(store.set("m2", "", {.ttl = 60s, .metadata = most}).ok());
  EXPECT_TRUE(store.set("m3", "v", {.idle = 127s, .tags = red, .metadata = std::string_view("\0\0\0", 3)}).ok());
  EXPECT_TRUE(store.set(pattern(300, 7), pattern(300, 5), {.evictable = false, .tags = red, .metadata = most}).ok());
  EXPECT_TRUE(store.set("m4", pattern(16'300), {.metadata = most}).ok());   // over the edge of a block of its own
  EXPECT_TRUE(store.set("m5", pattern(300'000), {.metadata = most}).ok());  // in an extent
  EXPECT_TRUE(store.set(pattern(40'000, 8), pattern(300'000, 6), {.ttl = 90s, .tags = red, .metadata = most}).ok());
  for (unsigned i = 0; i != 300; ++i) EXPECT_TRUE(store.set(numbered("m of many", i), pattern(i), {.metadata = pattern(1 + i, i)}).ok());
  EXPECT_TRUE(store.set("no metadata", "v").ok());
  return 2 + 1;  // that are red
}

TEST_F(SnapshotTest, MetadataComeBackWhole) {
  Options options = small_options(&clock);
  options.shard_count = 8;
  const Store store = open_or_fail(options);
  fill_with_tags(store);
  save_or_fail(store);
  EXPECT_EQ(inspect_snapshot(path)->format_version, 2u) << "whoever knows no metadata can read it";
  ASSERT_TRUE(store.set("lone", "v", {.metadata = "m"}).ok());
  for (const SnapshotCodec codec : {SnapshotCodec::kNone, SnapshotCodec::kLz4, SnapshotCodec::kZstd}) {
    const auto saved = store.save(path, {.keep = 1, .threads = 3, .codec = codec});
    if (saved.status() == Status::kUnsupported) continue;
    ASSERT_TRUE(saved.ok());
    EXPECT_EQ(inspect_snapshot(path)->format_version, 5u) << "whoever knows none refuses it";
    EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), contents_of(store));
  }
  ASSERT_TRUE(store.clear().ok());
  fill_with_metadata(store);
  const Lease lease = *store.lease(1h);
  ASSERT_TRUE(store.set("of a lease", "v", {.lease = lease.id(), .metadata = "m"}).ok());
  const Contents before = contents_of(store);
  EXPECT_EQ(before.at("m3").metadata, std::string(3, '\0'));
  save_or_fail(store, {.keep = 1});
  std::map<std::string, std::string> in_file;
  EXPECT_TRUE(*read_snapshot(path, [&](const SnapshotEntry& e) {
    if (!e.metadata.empty()) in_file[std::string(e.key)] = e.metadata;
    return true;
  }));
  EXPECT_EQ(in_file.size(), 308u);
  for (const auto& [key, metadata] : in_file) EXPECT_EQ(before.at(key).metadata, metadata);
  for (const bool copy : {true, false}) {
    options.shard_count = copy ? 4 : 2;
    const Store again = reopen_or_fail(options, {.own = false, .copy = copy});
    EXPECT_EQ(again.get_metadata("m5")->view(), pattern(kMetadataBytesMax, 9)) << "also of one that is still to come";
    EXPECT_EQ(contents_of(again), before);
    ASSERT_TRUE(again.append("m3", "+").ok());
    EXPECT_EQ(again.get_metadata("m3")->view(), std::string(3, '\0'));
    ASSERT_TRUE(*again.set_metadata("m3", "other"));
    ASSERT_TRUE(again.del_tag("blue").ok());
    EXPECT_TRUE(again.get("m3").missing());
    EXPECT_EQ(contents_of(again).size(), before.size() - 3);
    EXPECT_TRUE(*again.lease_of(lease.id()).revoke());
    EXPECT_TRUE(again.get("of a lease").missing());
    EXPECT_TRUE(whole(again));
  }
}

TEST_F(SnapshotTest, AnIdOfALeaseIsNeverGivenAgain) {
  std::optional<Store> store = open_or_fail(small_options(&clock));
  LeaseId last = 0;
  for (int life = 0; life != 6; ++life) {
    const LeaseId id = store->lease(1h)->id();
    EXPECT_GT(id, last) << life;
    last = id;
    if (life % 2 != 0) {  // of every other life a lease is in the file
      ASSERT_TRUE(store->clear().ok());
    }
    save_or_fail(*store);
    store.reset();
    store = reopen_or_fail(small_options(&clock));
  }
}

// format_1.tern was written by the version that had format 1.
TEST_F(SnapshotTest, AFileOfAnOlderFormatIsReadAsItIs) {
  const std::string old = TERN_TEST_DATA "/format_1.tern";
  EXPECT_EQ(inspect_snapshot(old)->format_version, 1u);
  std::filesystem::copy_file(old, path);
  Options options = small_options(&clock);
  options.hash_seed.reset();  // the file has its own
  const Store store = reopen_or_fail(options);
  EXPECT_EQ(report.entries, 204u);
  EXPECT_EQ(value_of(store, "key 17"), "value 17");
  EXPECT_EQ(store.get("long")->size(), 20'000u);
  EXPECT_GT(**store.ttl("mortal"), 1h);
  EXPECT_TRUE(store.get("idle").found());
  EXPECT_EQ(store.stats().unevictable, 1u);
  EXPECT_TRUE(whole(store));
  const Contents before = contents_of(store);
  save_or_fail(store);
  EXPECT_EQ(inspect_snapshot(path)->format_version, 2u);
  EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), before);
}

TEST_F(SnapshotTest, AnEmptyStoreIsASnapshotToo) {
  const Options options = small_options(&clock);
  {
    const Store store = open_or_fail(options);
    EXPECT_EQ(save_or_fail(store).entries, 0u);
  }
  const Store again = reopen_or_fail(options);
  EXPECT_TRUE(contents_of(again).empty());
  EXPECT_TRUE(again.set("k", "v").ok());
}

TEST_F(SnapshotTest, WhatExpiredMeanwhileIsGoneAndCounted) {
  const Options options = small_options(&clock);
  const Store store = open_or_fail(options);
  for (unsigned i = 1; i <= 100; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v", {.ttl = milliseconds(1'000 * i)}).ok());
  save_or_fail(store);
  const Store again = reopen_or_fail(options, {.own = false, .wall_now = kSavedAt + 40s});
  EXPECT_EQ(report.expired, 40u);
  EXPECT_EQ(report.entries, 60u);
  EXPECT_EQ(**again.ttl("k41"), 1'000ms);
  EXPECT_EQ(**again.ttl("k100"), 60'000ms);
  // A wall clock that was set back gives nobody a longer life.
  const Store back = reopen_or_fail(options, {.own = false, .wall_now = kSavedAt - 1000s});
  EXPECT_EQ(report.entries, 100u);
  EXPECT_EQ(**back.ttl("k100"), 100'000ms);
}

TEST_F(SnapshotTest, AnyNumberOfShardsAndThreadsGivesTheSame) {
  Options options = small_options(&clock);
  options.shard_count = 8;
  const Store store = open_or_fail(options);
  fill_with_everything(store);
  const Contents before = contents_of(store);
  save_or_fail(store);
  for (const unsigned shards : {1u, 2u, 8u, 64u}) {
    for (const unsigned threads : {1u, 4u}) {
      options.shard_count = shards;
      const Store again = reopen_or_fail(options, {.own = false, .threads = threads});
      EXPECT_EQ(contents_of(again), before) << shards << " shards, " << threads << " threads";
      EXPECT_TRUE(whole(again));
    }
  }
}

TEST_F(SnapshotTest, AnOrderedStoreFindsItsKeysInOrderAgain) {
  Options options = small_options(&clock);
  options.ordered = true;
  const Store store = open_or_fail(options);
  fill_with_everything(store);
  save_or_fail(store);
  const Store again = reopen_or_fail(options, {.own = false, .threads = 4});
  EXPECT_TRUE(whole(again));
  std::string last;
  unsigned seen = 0;
  EXPECT_TRUE(again.iterate("", [&](std::string_view key, std::string_view) {
    EXPECT_LT(last, key);
    last = key;
    ++seen;
    return true;
  }).ok());
  EXPECT_EQ(seen, report.entries);
}

// The order in which threads write blocks is theirs; what comes back is the same.
TEST_F(SnapshotTest, SavedByAnyNumberOfThreadsIsTheSame) {
  Options options = small_options(&clock);
  options.shard_count = 16;
  const Store store = open_or_fail(options);
  fill_with_everything(store);
  fill_with_tags(store);
  fill_with_metadata(store);
  const Contents before = contents_of(store);
  for (const unsigned threads : {1u, 2u, 3u, 16u}) {
    EXPECT_EQ(save_or_fail(store, {.keep = 1, .threads = threads}).entries, before.size());
    EXPECT_TRUE(verify_snapshot(path, [](const SnapshotFault&) {}).ok());
    for (const bool copy : {true, false}) {
      const Store again = reopen_or_fail(options, {.own = false, .copy = copy, .threads = threads});
      EXPECT_EQ(contents_of(again), before) << threads << " threads";
      EXPECT_TRUE(whole(again));
    }
  }
  EXPECT_EQ(store.save(path, {.threads = 17}).error(), (Error{Status::kOutOfRange, Field::kThreads}));
}

// What a save meets while it runs: the store moves on under it in every way.
struct Meanwhile {
  Store* store;
  ManualClock* clock;
  unsigned calls = 0;
  SaveProgress last{};
  bool goes_on = true;
};

bool move_on(void* user, const SaveProgress& p) {
  Meanwhile& m = *static_cast<Meanwhile*>(user);
  EXPECT_GE(p.entries, m.last.entries);
  EXPECT_GT(p.bytes, m.last.bytes);
  m.last = p;
  const unsigned n = m.calls++;
  for (unsigned i = 0; i != 400; ++i) {
    const unsigned k = (n * 400 + i) * 7 % 20'000;
    switch (i % 6) {
      case 0: EXPECT_TRUE(m.store->set(numbered("k", k), "changed").ok()); break;
      case 1: EXPECT_TRUE(m.store->del(numbered("k", k)).ok()); break;
      case 2: EXPECT_TRUE(m.store->set(numbered("new", n * 400 + i), pattern(40, i)).ok()); break;
      case 3: EXPECT_TRUE(m.store->expire(numbered("k", k), 1ms).ok()); break;
      case 4: EXPECT_TRUE(m.store->append(numbered("k", k), "+").ok()); break;
      case 5: EXPECT_TRUE(m.store->increment("counter").ok()); break;
    }
  }
  WriteBatch batch;
  batch.set("batch a", numbered("a", n));
  batch.set("batch b", numbered("b", n));
  EXPECT_TRUE(m.store->write(batch).ok());
  m.clock->advance(500ms);
  EXPECT_TRUE(m.store->tick(1s).ok());
  return m.goes_on;
}

TEST_F(SnapshotTest, IsTheMomentOfTheCallWhateverHappensMeanwhile) {
  Options options = small_options(&clock);
  options.memory_bytes = 32 * kMiB;
  options.eviction = false;
  options.view_bytes_max = 16 * kMiB;
  options.shard_count = 8;
  Store store = open_or_fail(options);
  for (unsigned i = 0; i != 20'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(i % 200, i)).ok());
  for (unsigned i = 0; i != 1'000; ++i) ASSERT_TRUE(store.set(numbered("ttl", i), "t", {.ttl = milliseconds(1'000 + i)}).ok());
  for (unsigned i = 0; i != 20; ++i) ASSERT_TRUE(store.set(numbered("long", i), pattern(100'000, i)).ok());
  const Contents before = contents_of(store);
  Contents at_save = before;
  for (const unsigned threads : {1u, 3u}) {
    Meanwhile meanwhile{&store, &clock};
    const milliseconds began = clock.now();
    const SaveReport saved = save_or_fail(store, {.threads = threads, .progress = move_on, .progress_user = &meanwhile});
    EXPECT_GT(meanwhile.calls, threads == 1 ? 20u : 0u);
    EXPECT_EQ(saved.entries, at_save.size());
    EXPECT_TRUE(whole(store));
    Options of_copy = options;
    ManualClock then;
    then.advance(began - then.now());
    of_copy.clock = &then;
    const Store again = reopen_or_fail(of_copy, {.own = false});
    EXPECT_EQ(contents_of(again), at_save) << threads << " threads";
    EXPECT_TRUE(whole(again));
    at_save = contents_of(store);
    EXPECT_NE(at_save, before) << "nothing has happened meanwhile";
  }
}

TEST_F(SnapshotTest, OfAFullStoreThatEvictsMeanwhileIsTheMomentToo) {
  Options options = small_options(&clock);
  options.memory_bytes = 8 * kMiB;
  Store store = open_or_fail(options);
  for (unsigned i = 0; store.stats().evicted < 1'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)).ok());
  const Contents before = contents_of(store);
  struct Filler {
    Store* store;
    unsigned n = 0;
  } filler{&store};
  save_or_fail(store, {.progress = [](void* user, const SaveProgress&) {
                 auto& f = *static_cast<Filler*>(user);
                 for (unsigned i = 0; i != 5; ++i) EXPECT_TRUE(f.store->set(numbered("more", f.n++), pattern(100, i)).ok());
                 return true;
               },
               .progress_user = &filler});
  const Store again = reopen_or_fail(options);
  EXPECT_EQ(report.left_out, 0u) << "what was full fits again";
  EXPECT_EQ(contents_of(again), before);
  EXPECT_TRUE(whole(again));
  for (unsigned i = 0; i != 10'000; ++i) ASSERT_TRUE(again.set(numbered("later", i), pattern(100, i)).ok());
  EXPECT_GT(again.stats().evicted, 0u);
  EXPECT_TRUE(whole(again));
}

TEST_F(SnapshotTest, ASaveThatWouldKeepTooMuchSaysSo) {
  Options options = small_options(&clock);
  options.view_bytes_max = 64 << 10;
  Store store = open_or_fail(options);
  for (unsigned i = 0; i != 20'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)).ok());
  save_or_fail(store);
  const std::string first = bytes_of_file(path);
  const auto r = store.save(path, {.progress = [](void* user, const SaveProgress&) {
                                     for (unsigned i = 0; i != 20'000; ++i) {
                                       EXPECT_TRUE(static_cast<Store*>(user)->set(numbered("k", i), "other").ok());
                                     }
                                     return true;
                                   },
                                   .progress_user = &store,
                                   .fault = &fault});
  EXPECT_EQ(r.status(), Status::kViewExpired);
  EXPECT_NE(std::string(fault.reason).find("view_bytes_max"), std::string::npos);
  EXPECT_EQ(bytes_of_file(path), first);
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
}

TEST_F(SnapshotTest, ShardsThatAreWrittenKeepNothing) {
  Options options = small_options(&clock);
  options.shard_count = 16;
  options.eviction = false;
  Store store = open_or_fail(options);
  constexpr unsigned kEntries = 30'000;
  for (unsigned i = 0; i != kEntries; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)).ok());
  struct Writer {
    const Store* store;
    std::vector<std::vector<std::string>> keys{16};
    std::uint64_t kept_max = 0;
    unsigned overwritten = 0;
  } writer{&store};
  for (unsigned i = 0; i != kEntries; ++i) writer.keys[store.inspect(numbered("k", i))->shard].push_back(numbered("k", i));
  const Contents before = contents_of(store);
  // Each shard is overwritten as soon as it is written, and more than once.
  save_or_fail(store, {.progress = [](void* user, const SaveProgress& p) {
                 Writer& w = *static_cast<Writer*>(user);
                 std::uint64_t below = 0;
                 for (const auto& of_shard : w.keys) {
                   below += of_shard.size();
                   if (below > p.entries - p.entries / 50) break;  // the last of them may not be given up yet
                   for (const auto& key : of_shard) EXPECT_TRUE(w.store->set(key, "other").ok());
                   w.overwritten += static_cast<unsigned>(of_shard.size());
                 }
                 w.kept_max = std::max(w.kept_max, w.store->stats().kept_versions);
                 return true;
               },
               .progress_user = &writer});
  EXPECT_GT(writer.overwritten, 5 * kEntries);
  EXPECT_LT(writer.kept_max, kEntries / 8) << "no more than what was kept of two shards";
  EXPECT_EQ(contents_of(reopen_or_fail(options)), before);
  EXPECT_TRUE(whole(store));
}

TEST_F(SnapshotTest, GivenUpItLeavesWhatWasThere) {
  Store store = open_or_fail(small_options(&clock));
  for (unsigned i = 0; i != 5'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)).ok());
  save_or_fail(store);
  const std::string first = bytes_of_file(path);
  unsigned left = 3;
  const auto r = store.save(path, {.progress = [](void* user, const SaveProgress&) { return --*static_cast<unsigned*>(user) != 0; },
                                   .progress_user = &left});
  EXPECT_EQ(r.status(), Status::kCancelled);
  EXPECT_EQ(bytes_of_file(path), first);
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
  EXPECT_FALSE(std::filesystem::exists(path + ".1"));
  EXPECT_EQ(store.stats().views, 0u);
}

TEST_F(SnapshotTest, ALimitedRateIsKept) {
  const Store store = open_or_fail(small_options(&clock));
  for (unsigned i = 0; i != 2'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)).ok());
  // Judged by the calls of the progress function while it waits, not by a clock.
  unsigned calls[2] = {0, 0};
  for (const bool limited : {false, true}) {
    save_or_fail(store, {.bytes_per_second = limited ? std::uint64_t{1} << 20 : 0,
                         .progress = [](void* user, const SaveProgress&) { return ++*static_cast<unsigned*>(user) != 0; },
                         .progress_user = &calls[limited]});
  }
  EXPECT_GT(calls[1], calls[0] + 2);  // 270 KB at 1 MiB a second, in sleeps of 50 ms
}

TEST_F(SnapshotTest, AsManyGenerationsStayAsAreAskedFor) {
  const Options options = small_options(&clock);
  const Store store = open_or_fail(options);
  const auto is_there = [&](unsigned back) { return std::filesystem::exists(back == 0 ? path : path + "." + std::to_string(back)); };
  for (std::uint64_t i = 1; i <= 5; ++i) {
    ASSERT_TRUE(store.set("n", std::to_string(i)).ok());
    EXPECT_EQ(save_or_fail(store, {.keep = 3}).generation, i);
  }
  EXPECT_TRUE(is_there(0) && is_there(1) && is_there(2));
  EXPECT_FALSE(is_there(3));
  std::filesystem::remove(path);
  EXPECT_EQ(value_of(reopen_or_fail(options), "n"), "4") << "one that is missing is passed over";
  EXPECT_EQ(report.fallbacks, 1u);
  EXPECT_EQ(report.generation, 4u);
  save_or_fail(store, {.keep = 1});
  EXPECT_TRUE(is_there(0));
  EXPECT_FALSE(is_there(1) || is_there(2));
  EXPECT_EQ(store.save(path, {.keep = 0}).error(), (Error{Status::kInvalidArgument, Field::kKeep}));
  EXPECT_EQ(store.save(path, {.keep = 65}).error(), (Error{Status::kInvalidArgument, Field::kKeep}));
}

TEST_F(SnapshotTest, ADamagedFileGivesWayToTheOneBeforeAndIsNeverChanged) {
  const Options options = small_options(&clock);
  {
    const Store store = open_or_fail(options);
    for (unsigned i = 0; i != 100; ++i) ASSERT_TRUE(store.set(numbered("k", i), "old").ok());
    save_or_fail(store);
    for (unsigned i = 0; i != 100; ++i) ASSERT_TRUE(store.set(numbered("k", i), "new").ok());
    save_or_fail(store);
  }
  std::string bytes = bytes_of_file(path);
  bytes[4'100] ^= 1;  // in the first block
  write_file(path, bytes);
  const Store again = reopen_or_fail(options, {.own = false});
  EXPECT_EQ(value_of(again, "k7"), "old");
  EXPECT_EQ(report.generation, 1u);
  EXPECT_EQ(report.fallbacks, 1u);
  EXPECT_EQ(std::string(fault.file), path);
  EXPECT_EQ(fault.offset, 4'096u);
  EXPECT_STREQ(fault.reason, "a block's checksum is wrong");
  EXPECT_EQ(bytes_of_file(path), bytes);
  std::filesystem::remove(path + ".1");
  EXPECT_EQ(reopen(options).error(), (Error{Status::kCorrupt, Field::kPath}));
  EXPECT_EQ(std::string(fault.file), path);
  EXPECT_EQ(bytes_of_file(path), bytes);
}

TEST_F(SnapshotTest, VersionsNeverRepeat) {
  const Options options = small_options(&clock);
  std::uint64_t changed = 0, removed = 0, batched = 0;
  {
    const Store store = open_or_fail(options);
    ASSERT_TRUE(store.set("k", "1").ok());
    ASSERT_TRUE(store.set("r", "1").ok());
    save_or_fail(store);
    // A life that goes on after its last save, and is lost.
    for (unsigned i = 0; i != 10; ++i) changed = *store.set("k", "lost");
    ASSERT_TRUE(store.del("r").ok());
    removed = *store.set("r", "lost");
  }
  for (unsigned life = 0; life != 3; ++life) {
    const Store store = reopen_or_fail(options);
    const Lookup<Entry> k = store.get_entry("k");
    EXPECT_EQ(k->value.view(), "1");
    EXPECT_EQ(k->version, 1u) << "what names the same bytes stays the same";
    EXPECT_EQ(*store.compare_and_swap_version("k", changed, "x"), false);
    const std::uint64_t next = *store.set("k", "2");
    EXPECT_GT(next, changed);
    changed = next;
    const std::uint64_t absent = *store.set("never before", "2");
    EXPECT_GT(absent, std::uint64_t{life});
    ASSERT_TRUE(store.del("r").ok());
    const std::uint64_t reborn = *store.set("r", "2");
    EXPECT_GT(reborn, removed);
    removed = reborn;
    WriteBatch batch;
    batch.set("k", "3");
    batch.set("batched", "3");
    ASSERT_TRUE(store.write(batch).ok());
    EXPECT_GT(store.get_entry("k")->version, changed);
    changed = store.get_entry("k")->version;
    EXPECT_GT(store.get_entry("batched")->version, batched);
    batched = store.get_entry("batched")->version;
    EXPECT_TRUE(whole(store));
  }
}

TEST_F(SnapshotTest, OneWriterOwnsAPath) {
  const Options options = small_options(&clock);
  Store other = open_or_fail(options);
  {
    const Store store = open_or_fail(options);
    ASSERT_TRUE(store.set("k", "v").ok());
    save_or_fail(store);
    save_or_fail(other);  // nobody owns it
    save_or_fail(store);
  }
  Store owner = reopen_or_fail(options);
  EXPECT_EQ(reopen(options).error(), (Error{Status::kUnavailable, Field::kPath}));
  EXPECT_EQ(other.save(path, {.fault = &fault}).error(), (Error{Status::kUnavailable, Field::kPath}));
  EXPECT_NE(std::string(fault.reason).find("another store or process"), std::string::npos);
  EXPECT_EQ(value_of(reopen_or_fail(options, {.own = false}), "k"), "v") << "a copy is anybody's";
  ASSERT_TRUE(owner.set("k", "w").ok());
  save_or_fail(owner);
  EXPECT_EQ(value_of(reopen_or_fail(options, {.own = false}), "k"), "w");
  // Two saves of the owner itself.
  struct Nested {
    const Store* store;
    std::string path;
    Error error;
  } nested{&owner, path, {}};
  save_or_fail(owner, {.progress = [](void* user, const SaveProgress&) {
                 auto& n = *static_cast<Nested*>(user);
                 n.error = n.store->save(n.path).error();
                 return true;
               },
               .progress_user = &nested});
  EXPECT_EQ(nested.error, (Error{Status::kUnavailable, Field::kPath}));
  owner = Store();
  save_or_fail(other);
  EXPECT_TRUE(reopen(options).ok());
}

// A service that goes to / when it has begun.
TEST_F(SnapshotTest, ARelativePathStaysInItsFolder) {
  const Options options = small_options(&clock);
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::create_directory(folder.file("elsewhere"));
  std::filesystem::current_path(folder.path());
  {
    const Store store = open_or_fail(options);
    ASSERT_TRUE(store.set("k", "v").ok());
    ASSERT_TRUE(store.save("relative").ok());
  }
  {
    const Store owner = *Store::open("relative", options);
    ASSERT_TRUE(owner.set("k", "w").ok());
    ASSERT_TRUE(owner.save(folder.file("relative")).ok()) << "the same file by another name";
    ASSERT_TRUE(owner.save_periodically("relative", {.every = 10ms}).ok());
    std::filesystem::current_path("elsewhere");
    ASSERT_TRUE(owner.set("k", "x").ok());
    const auto saved = [&] { return value_of(*Store::open(folder.file("relative"), options, {.own = false}), "k"); };
    wait_for([&] { return saved() == "x"; });
    EXPECT_TRUE(std::filesystem::is_empty("."));
    EXPECT_EQ(owner.save("relative")->generation, 1u) << "another file";
    EXPECT_EQ(Store::open(folder.file("relative"), options).status(), Status::kUnavailable);
  }
  std::filesystem::current_path(before);
  EXPECT_EQ(value_of(*Store::open(folder.file("relative"), options), "k"), "x");
}

TEST_F(SnapshotTest, OptionsThatContradictTheFileAreNamed) {
  Options options = small_options(&clock);
  options.eviction = false;
  const Store store = open_or_fail(options);
  for (unsigned i = 0; i != 60; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100'000, i)).ok());
  save_or_fail(store);
  const auto with = [&](auto&& change) {
    Options o = options;
    change(o);
    return reopen(o, {.own = false}).error();
  };
  EXPECT_EQ(with([](Options& o) { o.hash_seed = 43; }), (Error{Status::kInvalidArgument, Field::kHashSeed}));
  EXPECT_EQ(with([](Options& o) { o.memory_bytes = 4 * kMiB; }), (Error{Status::kOutOfRange, Field::kMemoryBytes}));
  EXPECT_EQ(with([](Options& o) { o.entries_max = 59; }), (Error{Status::kOutOfRange, Field::kEntriesMax}));
  EXPECT_EQ(with([](Options& o) { o.value_bytes_max = 99'999; }), (Error{Status::kOutOfRange, Field::kValueBytesMax}));
  EXPECT_EQ(with([](Options& o) { o.shard_count = 3; }), (Error{Status::kInvalidArgument, Field::kShardCount}));
  EXPECT_EQ(with([](Options& o) { o.hash_seed.reset(); }), Error{});
  // Where something is evicted the budget decides who stays.
  Options smaller = options;
  smaller.eviction = true;
  smaller.memory_bytes = 4 * kMiB;
  const Store some = reopen_or_fail(smaller, {.own = false});
  EXPECT_GT(report.left_out, 20u);
  EXPECT_EQ(report.entries + report.left_out, 60u);
  EXPECT_EQ(contents_of(some).size(), report.entries);
  EXPECT_TRUE(whole(some));
  smaller = options;
  smaller.eviction = true;
  smaller.entries_max = 10;
  EXPECT_EQ(contents_of(reopen_or_fail(smaller, {.own = false})).size(), 10u);
}

TEST_F(SnapshotTest, BadCallsChangeNothing) {
  const Options options = small_options(&clock);
  Store store = open_or_fail(options);
  ASSERT_TRUE(store.set("k", "v").ok());
  EXPECT_EQ(reopen(options).error(), (Error{Status::kNotFound, Field::kPath}));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "no lock file where there is no snapshot";
  for (const std::string& bad : {std::string(), std::string("a\0b", 3), folder.path().string() + "/", std::string(4'001, 'x')}) {
    EXPECT_EQ(store.save(bad).error(), (Error{Status::kInvalidArgument, Field::kPath}));
    EXPECT_EQ(Store::open(bad, options).error(), (Error{Status::kInvalidArgument, Field::kPath}));
  }
  EXPECT_EQ(store.save(folder.file("no/folder"), {.fault = &fault}).error(), (Error{Status::kIo, Field::kPath}));
  EXPECT_EQ(fault.system_error, ENOENT);
  EXPECT_EQ(store.save(path, {.wall_now = -1ms}).error(), (Error{Status::kOutOfRange, Field::kClock}));
  EXPECT_EQ(Store::open(path, options, {.threads = 17}).error(), (Error{Status::kOutOfRange, Field::kThreads}));
  std::filesystem::create_directory(path);
  EXPECT_EQ(store.save(path).error(), (Error{Status::kInvalidArgument, Field::kPath}));
  EXPECT_TRUE(std::filesystem::is_directory(path));
  std::filesystem::remove_all(path);
  // What is no file stays where it is, a save that would move it begins nothing.
  const std::string pipe = folder.file("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::filesystem::create_symlink(folder.path(), folder.file("link"));
  std::filesystem::create_directory(path + ".2");
  EXPECT_EQ(store.save(pipe, {.fault = &fault}).error(), (Error{Status::kInvalidArgument, Field::kPath}));
  EXPECT_STREQ(fault.reason, "what has this name is no file");
  EXPECT_EQ(store.save(folder.file("link"), {.fault = &fault}).error(), (Error{Status::kInvalidArgument, Field::kPath}));
  EXPECT_EQ(store.save(path, {.keep = 3, .fault = &fault}).error(), (Error{Status::kInvalidArgument, Field::kPath}));
  EXPECT_EQ(std::string(fault.file), path + ".2");
  EXPECT_STREQ(fault.reason, "a folder has this name");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator()), 3);
  EXPECT_TRUE(store.save(path).ok()) << "two generations have other names";
  store.close();
  EXPECT_EQ(store.save(path).status(), Status::kClosed);
}

TEST_F(SnapshotTest, TheStoreGoesOnAsOneThatWasNeverClosed) {
  Options options = small_options(&clock);
  options.maintenance = Maintenance::kBackground;
  options.clock = nullptr;
  {
    const Store store = open_or_fail(options);
    for (unsigned i = 0; i != 5'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(60, i), {.ttl = 3'600s}).ok());
    ASSERT_TRUE(store.save(path).ok());
  }
  auto store = Store::open(path, options);
  ASSERT_TRUE(store.ok());
  for (unsigned i = 0; i != 20'000; ++i) ASSERT_TRUE(store->set(numbered("k", i), pattern(60, i)).ok());
  for (unsigned i = 0; i != 20'000; i += 2) ASSERT_TRUE(*store->del(numbered("k", i)));
  EXPECT_EQ(contents_of(*store).size(), 10'000u);
  EXPECT_TRUE(store->tick(10s).ok());
  EXPECT_TRUE(whole(*store));
}

TEST_F(SnapshotTest, SavesByItselfWhatWasChanged) {
  Options options = small_options(&clock);
  Store store = open_or_fail(options);
  ASSERT_TRUE(store.set("k", "1").ok());
  ASSERT_TRUE(store.save_periodically(path, {.every = 10ms, .keep = 1}).ok());
  EXPECT_EQ(store.save_periodically(path).status(), Status::kExists);
  wait_for([&] { return store.stats().periodic_saves != 0; });  // what was set before counts
  EXPECT_GT(store.stats().periodic_saved_at.count(), 0);
  const auto saved = [&] {
    std::string value;
    EXPECT_TRUE(read_snapshot(path, [&](const SnapshotEntry& e) { value = e.value; return true; }).ok());
    return value;
  };
  EXPECT_EQ(saved(), "1");
  // Nothing changes: it wakes and passes over.
  const std::uint64_t saves = store.stats().periodic_saves;
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(store.stats().periodic_saves, saves);
  ASSERT_TRUE(store.set("k", "3").ok());
  wait_for([&] { return store.stats().periodic_saves == saves + 1; });
  EXPECT_EQ(saved(), "3");
  // What goes wrong is told there, and tried again.
  std::filesystem::remove_all(folder.path());
  ASSERT_TRUE(store.set("k", "4").ok());
  wait_for([&] { return store.stats().periodic_save_errors >= 2; });
  EXPECT_EQ(store.stats().periodic_save_status, Status::kIo);
  EXPECT_TRUE(store.set("k", "5").ok()) << "and nobody else hears of it";
  std::filesystem::create_directories(folder.path());
  wait_for([&] { return store.stats().periodic_save_status == Status::kOk; });
  EXPECT_EQ(saved(), "5");
}

TEST_F(SnapshotTest, FewerChangesThanWereAskedForAreNotSaved) {
  Store store = open_or_fail(small_options(&clock));
  ASSERT_TRUE(store.save_periodically(path, {.every = 10ms, .changes = 100}).ok());
  for (unsigned i = 0; i != 99; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v").ok());
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(store.stats().periodic_saves, 0u);
  ASSERT_TRUE(*store.del("k0"));
  wait_for([&] { return store.stats().periodic_saves != 0; });
  EXPECT_EQ(inspect_snapshot(path)->entries, 98u);
  EXPECT_EQ(store.save_periodically(path, {.keep = 0}).error(), (Error{Status::kInvalidArgument, Field::kKeep}));
  Store other = open_or_fail(small_options(&clock));
  EXPECT_EQ(other.save_periodically(path, {.every = 9ms}).error(), (Error{Status::kOutOfRange, Field::kEvery}));
  EXPECT_EQ(other.save_periodically("").error(), (Error{Status::kInvalidArgument, Field::kPath}));
}

TEST_F(SnapshotTest, AStoreThatGoesEndsItsSaves) {
  for (unsigned i = 0; i != 20; ++i) {
    Store store = open_or_fail(small_options(&clock));
    ASSERT_TRUE(store.save_periodically(path, {.every = 10ms, .threads = 1 + i % 3}).ok());
    for (unsigned k = 0; k != 2'000; ++k) ASSERT_TRUE(store.set(numbered("k", k), pattern(100, k)).ok());
    if (i % 2 == 0) wait_for([&] { return store.stats().periodic_saves != 0; });
    for (unsigned k = 0; k != 1'000; ++k) ASSERT_TRUE(store.set(numbered("k", k), "new").ok());
    if (i % 3 == 0) store.close();
  }
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
  EXPECT_TRUE(verify_snapshot(path, [](const SnapshotFault&) {}).ok());
}

}  // namespace
}  // namespace tern::test
