// Metadata: an entry's bytes beside its value, which calls keep them, what sees them, and pairs in them.
#include <tern/metadata.h>
#include <tern/namespace.h>
#include <tern/store.h>

#include <atomic>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

using namespace std::literals;

SetOptions with(std::string_view metadata) { return SetOptions{.metadata = metadata}; }

// What the key has; nothing for a miss.
template <class Handle>
std::optional<std::string> metadata_of(const Handle& handle, std::string_view key) {
  const Lookup<Value> r = handle.get_metadata(key);
  const Lookup<Entry> e = handle.get_entry(key);
  EXPECT_EQ(r.found(), e.found());
  if (!r) return std::nullopt;
  EXPECT_EQ(r->view(), e->metadata.view()) << key;
  return std::string(r->view());
}

using MetadataTest = StoreTest;

TEST_F(MetadataTest, ASetGivesThemAndTheNextOneClearsThem) {
  ASSERT_TRUE(store.set("k", "v", with("about k")));
  EXPECT_EQ(metadata_of(store, "k"), "about k");
  EXPECT_EQ(value_of(store, "k"), "v");
  EXPECT_EQ(metadata_of(store, "none"), std::nullopt);
  ASSERT_TRUE(store.set("k", "w"));
  EXPECT_EQ(metadata_of(store, "k"), "");
  ASSERT_TRUE(store.set("k", "w", with("again")));
  ASSERT_TRUE(store.set("k", "x", SetOptions{.keep_ttl = true}));
  EXPECT_EQ(metadata_of(store, "k"), "");
  ASSERT_TRUE(store.set("k", "w", with("again")));
  EXPECT_EQ(store.get_and_set("k", "y")->view(), "w");
  EXPECT_EQ(metadata_of(store, "k"), "");
  // Of any bytes, also those that a lease and a tag are told by.
  for (const std::string_view bytes : {"\0"sv, "\0\0\0\0\0\0\0\0\0\0"sv, "\1a"sv, "\xff\xff\xff"sv}) {
    ASSERT_TRUE(store.set("k", "v", with(bytes)));
    EXPECT_EQ(metadata_of(store, "k"), bytes);
    ASSERT_TRUE(store.del_tag("a"));
    EXPECT_EQ(metadata_of(store, "k"), bytes);
  }
}

TEST_F(MetadataTest, ASetKeepsThemIfAsked) {
  const SetOptions keep{.keep_metadata = true};
  const std::string_view tags[] = {"red"};
  ASSERT_TRUE(store.set("k", "v", with("kept")));
  ASSERT_TRUE(store.set("k", "w", keep));
  EXPECT_EQ(metadata_of(store, "k"), "kept");
  ASSERT_TRUE(store.set("k", "w", SetOptions{.ttl = 1h, .evictable = false, .tags = tags, .keep_metadata = true}));
  EXPECT_EQ(metadata_of(store, "k"), "kept");
  EXPECT_EQ(store.get_entry("k")->ttl, 1h);
  ASSERT_TRUE(store.set("k", "x", SetOptions{.keep_ttl = true, .if_present = true, .keep_metadata = true}));
  EXPECT_EQ(store.get_entry("k")->ttl, 1h);
  EXPECT_EQ(metadata_of(store, "k"), "kept");
  ASSERT_TRUE(store.del_tag("red"));
  EXPECT_EQ(metadata_of(store, "k"), "kept") << "the set before has taken the tag away";
  EXPECT_EQ(store.set("k", "y", SetOptions{.if_absent = true, .keep_metadata = true}).status(), Status::kExists);
  // Nothing is there that could be kept.
  ASSERT_TRUE(store.set("new", "v", keep));
  EXPECT_EQ(metadata_of(store, "new"), "");
  clock.advance(1h);
  ASSERT_TRUE(store.set("k", "v", keep));
  EXPECT_EQ(metadata_of(store, "k"), "") << "of an entry that has expired";
  ASSERT_TRUE(store.set("c", "v", with("cleared")));
  ASSERT_TRUE(store.del_prefix("c"));
  ASSERT_TRUE(store.set("c", "v", keep));
  EXPECT_EQ(metadata_of(store, "c"), "");
}

TEST_F(MetadataTest, WhatChangesAValueKeepsThem) {
  const Lease lease = *store.lease(10h);
  for (const char* key : {"app", "inc", "incf", "upd", "cas", "casv", "exp", "per", "att", "touched"}) {
    const std::string metadata = "of "s + key;
    SetOptions o = with(metadata);
    if (key == "touched"sv) o.ttl = 1h;
    ASSERT_TRUE(store.set(key, "1", o));
  }
  ASSERT_TRUE(store.append("app", "2"));
  ASSERT_TRUE(store.increment("inc"));
  ASSERT_TRUE(store.increment_float("incf", 0.5));
  ASSERT_TRUE(store.update("upd", [](auto) { return Update::replace("new"); }));
  ASSERT_TRUE(*store.compare_and_swap("cas", "1", "2"));
  ASSERT_TRUE(*store.compare_and_swap_version("casv", store.get_entry("casv")->version, "2"));
  ASSERT_TRUE(*store.expire("exp", 1h));
  ASSERT_TRUE(*store.expire("per", 1h));
  ASSERT_TRUE(*store.persist("per"));
  ASSERT_TRUE(*lease.attach("att"));
  ASSERT_TRUE(*store.expire("touched", 2h));
  for (const char* key : {"app", "inc", "incf", "upd", "cas", "casv", "exp", "per", "att", "touched"}) {
    EXPECT_EQ(metadata_of(store, key), "of "s + key);
  }
  // Nothing was there before.
  ASSERT_TRUE(store.append("fresh", "2"));
  EXPECT_EQ(metadata_of(store, "fresh"), "");
}

// Short and long keys, values in the record and beside it, deadlines, tags, a lease.
TEST_F(MetadataTest, EveryShapeOfRecordHasThem) {
  const Lease lease = *store.lease(1h);
  const std::string_view tags[] = {"shape", "of more than one"};
  const std::string most = pattern(kMetadataBytesMax, 8);
  const std::string keys[] = {"k", pattern(254, 1), pattern(255, 2), pattern(9'000, 3), pattern(kKeyBytesMax, 4)};
  const std::string values[] = {"", "v", pattern(9'000, 6), pattern(300'000, 7)};
  for (const std::string& key : keys) {
    for (const std::string& value : values) {
      for (unsigned how = 0; how != 24; ++how) {
        SetOptions o = with(how % 2 == 0 ? std::string_view(most) : "\0short"sv);
        if (how / 2 % 3 == 1) o.ttl = 1h;
        if (how / 2 % 3 == 2) o.idle = 1h;
        if (how / 6 % 2 == 1) o.tags = tags;
        if (how / 12 % 2 == 1) o.lease = lease.id();
        ASSERT_TRUE(store.set(key, value, o)) << how;
        ASSERT_EQ(value_of(store, key), value) << how;
        ASSERT_EQ(metadata_of(store, key), o.metadata) << how;
        ASSERT_TRUE(*store.set_metadata(key, "others")) << how;
        ASSERT_TRUE(store.append(key, "+")) << how;
        ASSERT_EQ(value_of(store, key), value + "+") << how;
        ASSERT_EQ(metadata_of(store, key), "others") << how;
        ASSERT_EQ(store.get_entry(key)->ttl.has_value(), o.ttl || o.idle) << how;
        if (how == 23) {
          ASSERT_TRUE(whole(store));
        }
        if (!o.tags.empty()) {
          ASSERT_TRUE(store.del_tag("of more than one"));
          ASSERT_EQ(value_of(store, key), std::nullopt) << how;
        } else {
          ASSERT_TRUE(*store.del(key));
        }
      }
    }
  }
  ASSERT_TRUE(store.set("member", "v", SetOptions{.lease = lease.id(), .metadata = most}));
  ASSERT_TRUE(store.set("outsider", pattern(300'000), with(std::string(9, '\0'))));
  ASSERT_TRUE(*lease.revoke());
  EXPECT_EQ(metadata_of(store, "member"), std::nullopt);
  EXPECT_EQ(metadata_of(store, "outsider"), std::string(9, '\0'));
}

TEST_F(MetadataTest, AreSetWithoutTheValue) {
  const std::string_view tags[] = {"red"};
  const Lease lease = *store.lease(10h);
  ASSERT_TRUE(store.set("k", "v", SetOptions{.ttl = 1h, .evictable = false, .tags = tags, .lease = lease.id()}));
  const std::uint64_t version = store.get_entry("k")->version;
  ASSERT_TRUE(*store.set_metadata("k", "first"));
  EXPECT_EQ(metadata_of(store, "k"), "first");
  const Lookup<Entry> now = store.get_entry("k");
  EXPECT_EQ(now->value, "v");
  EXPECT_EQ(now->ttl, 1h);
  EXPECT_GT(now->version, version);
  EXPECT_EQ(store.stats().unevictable, 2u) << "and the lease";
  EXPECT_FALSE(*store.compare_and_swap_version("k", version, "w")) << "the entry is another since";
  ASSERT_TRUE(*store.set_metadata("k", "second"));
  EXPECT_EQ(metadata_of(store, "k"), "second");
  ASSERT_TRUE(*store.set_metadata("k", ""));
  EXPECT_EQ(metadata_of(store, "k"), "");
  ASSERT_TRUE(*store.set_metadata("k", "third"));
  ASSERT_TRUE(store.set("by tag", "v", SetOptions{.tags = tags}));
  ASSERT_TRUE(*store.set_metadata("by tag", "x"));
  ASSERT_TRUE(store.del_tag("red"));
  EXPECT_EQ(metadata_of(store, "by tag"), std::nullopt);
  EXPECT_EQ(metadata_of(store, "k"), std::nullopt);
  ASSERT_TRUE(store.set("of lease", "v", SetOptions{.lease = lease.id()}));
  ASSERT_TRUE(*store.set_metadata("of lease", "x"));
  ASSERT_TRUE(*lease.revoke());
  EXPECT_EQ(metadata_of(store, "of lease"), std::nullopt);

  EXPECT_FALSE(*store.set_metadata("none", "x"));
  EXPECT_EQ(value_of(store, "none"), std::nullopt) << "nothing is made for them";
  ASSERT_TRUE(store.set("mortal", "v", SetOptions{.ttl = 1s, .metadata = "m"}));
  clock.advance(1s);
  EXPECT_EQ(metadata_of(store, "mortal"), std::nullopt);
  EXPECT_FALSE(*store.set_metadata("mortal", "x"));
  EXPECT_EQ(metadata_of(store, "mortal"), std::nullopt);
  // An idle time goes on.
  ASSERT_TRUE(store.set("idle", "v", SetOptions{.idle = 10s}));
  ASSERT_TRUE(*store.set_metadata("idle", "x"));
  for (unsigned i = 0; i != 5; ++i) {
    clock.advance(6s);
    ASSERT_EQ(metadata_of(store, "idle"), "x") << "a read of the key";
  }
  clock.advance(11s);
  EXPECT_EQ(metadata_of(store, "idle"), std::nullopt);
}

TEST_F(MetadataTest, LimitsAreChecked) {
  const std::string most = pattern(kMetadataBytesMax), more = pattern(kMetadataBytesMax + 1);
  const Error too_large{Status::kTooLarge, Field::kMetadata}, both{Status::kInvalidArgument, Field::kMetadata};
  ASSERT_TRUE(store.set("k", "v", with(most)));
  EXPECT_EQ(store.set("k", "w", with(more)).error(), too_large);
  EXPECT_EQ(store.set_metadata("k", more).error(), too_large);
  EXPECT_EQ(store.set_nx("other", "w", with(more)).error(), too_large);
  EXPECT_EQ(store.set("k", "w", SetOptions{.metadata = "m", .keep_metadata = true}).error(), both);
  EXPECT_EQ(value_of(store, "k"), "v");
  EXPECT_EQ(metadata_of(store, "k"), most);
  // The most that an entry can have beside its value.
  std::vector<std::string> names;
  for (unsigned i = 0; i != 16; ++i) names.push_back(std::string(62, static_cast<char>('a' + i)));
  const std::vector<std::string_view> tags(names.begin(), names.end());
  const Lease lease = *store.lease(1h);
  ASSERT_TRUE(store.set("all", "v", SetOptions{.idle = 1h, .tags = tags, .lease = lease.id(), .metadata = most}));
  EXPECT_EQ(metadata_of(store, "all"), most);
  EXPECT_EQ(std::string(field_name(Field::kMetadata)), "metadata");

  Result<Draft> draft = store.allocate("draft", 1);
  EXPECT_EQ(draft->publish(with("m")).error(), both);
  EXPECT_EQ(draft->publish(SetOptions{.keep_metadata = true}).error(), both);
  ASSERT_TRUE(draft->publish());

  WriteBatch batch;
  batch.set("a", "1");
  batch.set("k", "w", with(more));
  EXPECT_EQ(store.write(batch).error(), too_large);
  EXPECT_EQ(batch.failed(), 1u);
  batch.clear();
  batch.set("k", "w", SetOptions{.metadata = "m", .keep_metadata = true});
  EXPECT_EQ(store.write(batch).error(), both);
  EXPECT_EQ(metadata_of(store, "k"), most);
  EXPECT_EQ(metadata_of(store, "a"), std::nullopt);
}

TEST_F(MetadataTest, ViewsHaveThoseOfTheirMoment) {
  for (const bool ordered : {false, true}) {
    Options options = small_options(&clock);
    options.ordered = ordered;
    const Store s = open_or_fail(options);
    ASSERT_TRUE(s.set("a", "1", with("old a")));
    ASSERT_TRUE(s.set("b", "2", with("old b")));
    ASSERT_TRUE(s.set("c", "3"));
    ASSERT_TRUE(s.set("d", pattern(300'000), SetOptions{.ttl = 1h, .metadata = "old d"}));
    const View view = *s.view();
    ASSERT_TRUE(*s.set_metadata("a", "new a"));
    ASSERT_TRUE(s.set("b", "2"));
    ASSERT_TRUE(*s.set_metadata("c", "new c"));
    ASSERT_TRUE(*s.del("d"));
    EXPECT_EQ(metadata_of(view, "a"), "old a");
    EXPECT_EQ(metadata_of(view, "b"), "old b");
    EXPECT_EQ(metadata_of(view, "c"), "");
    EXPECT_EQ(metadata_of(view, "d"), "old d");
    EXPECT_EQ(metadata_of(view, "e"), std::nullopt);
    EXPECT_EQ(metadata_of(s, "a"), "new a");
    EXPECT_EQ(metadata_of(s, "b"), "");
    EXPECT_EQ(metadata_of(s, "c"), "new c");
    std::vector<std::string> walked, scanned;
    const auto into = [](std::vector<std::string>& seen) {
      return [&seen](const ViewEntry& e) {
        seen.push_back(std::string(e.key) + "=" + std::string(e.metadata));
        return true;
      };
    };
    ASSERT_TRUE(view.for_each(into(walked)));
    std::sort(walked.begin(), walked.end());
    ASSERT_TRUE(view.scan({}, into(scanned)));
    const std::vector<std::string> expected = {"a=old a", "b=old b", "c=", "d=old d"};
    EXPECT_EQ(walked, expected);
    EXPECT_EQ(scanned, expected);
    scanned.clear();
    ASSERT_TRUE(s.scan({}, into(scanned)));
    EXPECT_EQ(scanned, (std::vector<std::string>{"a=new a", "b=", "c=new c"}));
    EXPECT_TRUE(whole(s));
  }
}

TEST_F(MetadataTest, NamespacesHaveTheirOwn) {
  const Namespace ns = *store.ns("users");
  ASSERT_TRUE(ns.set("k", "v", with("of the namespace")));
  ASSERT_TRUE(store.set("k", "v", with("of the store")));
  ASSERT_TRUE(*ns.set_metadata("k", "changed"));
  EXPECT_EQ(metadata_of(ns, "k"), "changed");
  EXPECT_EQ(metadata_of(store, "k"), "of the store");
  EXPECT_EQ(metadata_of(*ns.view(), "k"), "changed");
  const Session session = *store.session();
  ASSERT_TRUE(*session.set_metadata("k", "by a session"));
  EXPECT_EQ(metadata_of(session, "k"), "by a session");
}

TEST_F(MetadataTest, BatchesGiveAndKeepThem) {
  ASSERT_TRUE(store.set("kept", "0", SetOptions{.ttl = 1h, .metadata = "before"}));
  ASSERT_TRUE(store.set("void", "0", with("before")));
  WriteBatch batch;
  const std::string_view tags[] = {"red"};
  {
    std::string metadata = "of the batch";  // which has a copy
    batch.set("a", "1", SetOptions{.tags = tags, .metadata = metadata});
    batch.set("b", "2");
    batch.set("kept", "1", SetOptions{.tags = tags, .keep_metadata = true});
    batch.set("fresh", "1", SetOptions{.keep_metadata = true});
    // The same key twice: the last one counts, and it keeps what was there before the batch.
    batch.set("void", "1", with("in between"));
    batch.set("void", "2", SetOptions{.if_present = true, .keep_metadata = true});
    batch.set("plain", "1", SetOptions{.keep_metadata = true});
    batch.set("plain", "2");
    metadata.assign(metadata.size(), '#');
  }
  const auto view = store.view();
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(metadata_of(store, "a"), "of the batch");
  EXPECT_EQ(metadata_of(store, "b"), "");
  EXPECT_EQ(metadata_of(store, "kept"), "before");
  EXPECT_EQ(store.get_entry("kept")->ttl, std::nullopt);
  EXPECT_EQ(metadata_of(store, "fresh"), "");
  EXPECT_EQ(metadata_of(store, "void"), "before");
  EXPECT_EQ(value_of(store, "void"), "2");
  EXPECT_EQ(metadata_of(store, "plain"), "");
  EXPECT_EQ(metadata_of(*view, "a"), std::nullopt);
  // Both of what can be kept.
  ASSERT_TRUE(*store.expire("kept", 2h));
  batch.clear();
  batch.set("kept", pattern(300'000), SetOptions{.keep_ttl = true, .keep_metadata = true});
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(store.get_entry("kept")->ttl, 2h);
  EXPECT_EQ(metadata_of(store, "kept"), "before");
  // The conditions of others are answered as ever.
  batch.clear();
  batch.set("kept", "3", SetOptions{.keep_metadata = true});
  batch.require_value("b", "other");
  EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  EXPECT_EQ(batch.failed(), 1u);
  batch.clear();
  batch.set("kept", "3", SetOptions{.if_absent = true, .keep_metadata = true});
  EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  EXPECT_EQ(batch.failed(), 0u);
  WriteBatch when, otherwise;
  when.require_value("b", "2");
  batch.clear();
  batch.set("kept", "4", SetOptions{.keep_metadata = true});
  EXPECT_TRUE(*store.transact(when, batch, otherwise));
  EXPECT_EQ(metadata_of(store, "kept"), "before");
  // Of what has expired, or was cleared, nothing is kept.
  ASSERT_TRUE(*store.expire("kept", 1s));
  clock.advance(1s);
  ASSERT_TRUE(store.del_tag("red"));
  batch.clear();
  batch.set("kept", "5", SetOptions{.keep_metadata = true});
  batch.set("a", "5", SetOptions{.keep_metadata = true});
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(metadata_of(store, "kept"), "");
  EXPECT_EQ(metadata_of(store, "a"), "");
}

TEST_F(MetadataTest, AreCountedAgainstTheBudgetAndGoWithTheirEntry) {
  ASSERT_TRUE(store.set("plain", "v"));
  ASSERT_TRUE(store.set("k", "v", with(pattern(4'000))));
  EXPECT_LT(*store.memory_usage("plain"), 100u);
  EXPECT_GE(*store.memory_usage("k"), 4'000u);
  ASSERT_TRUE(*store.set_metadata("k", ""));
  EXPECT_EQ(*store.memory_usage("k"), *store.memory_usage("plain")) << "nothing is left of them";
  // By eviction, in a store that could hold some 4,000.
  for (unsigned i = 0; i != 20'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v", with(pattern(kMetadataBytesMax, i))));
  const Stats full = store.stats();
  EXPECT_LT(full.entries, 4'096u);
  EXPECT_GT(full.evicted, 15'000u);
  EXPECT_LE(full.memory_used_bytes, full.memory_bytes);
  for (unsigned i = 19'900; i != 20'000; ++i) {
    const auto metadata = metadata_of(store, numbered("k", i));
    if (metadata) {
      EXPECT_EQ(*metadata, pattern(kMetadataBytesMax, i));
    }
  }
  // And by their deadlines: as many again, without an eviction.
  ASSERT_TRUE(store.clear());
  while (store.tick(milliseconds(1))->invalidations != 0) {
  }
  for (unsigned round = 0; round != 4; ++round) {
    const std::uint64_t before = store.stats().evicted;
    for (unsigned i = 0; i != 2'500; ++i) {
      ASSERT_TRUE(store.set(numbered("e", i), "v", SetOptions{.ttl = 1s, .metadata = pattern(kMetadataBytesMax)}));
    }
    EXPECT_EQ(store.stats().evicted, before) << round;
    clock.advance(1s);
    EXPECT_EQ(*store.cleanup_expired(), 2'500u);
    while (store.tick(milliseconds(1))->limbo_bytes != 0) {
    }
  }
}

TEST_F(MetadataTest, WithoutRoomTheEntryStaysAsItWas) {
  Options options = small_options(&clock);
  options.memory_bytes = 4 * kMiB;
  options.eviction = false;
  const Store s = open_or_fail(options);
  ASSERT_TRUE(s.set("k", "v", with("before")));
  unsigned count = 0;
  while (s.set(numbered("f", count), pattern(4'000))) ++count;
  EXPECT_EQ(s.set_metadata("k", pattern(kMetadataBytesMax)).status(), Status::kOutOfMemory);
  EXPECT_EQ(s.set("k", "w", with(pattern(kMetadataBytesMax))).status(), Status::kOutOfMemory);
  EXPECT_EQ(metadata_of(s, "k"), "before");
  EXPECT_EQ(value_of(s, "k"), "v");
  EXPECT_TRUE(whole(s));
}

TEST_F(MetadataTest, WatchesAreToldThem) {
  Watch watch = *store.watch_key("k");
  Watch of_values = *store.watch_key("k", {.on_change_only = true});
  const std::string_view tags[] = {"red"};
  ASSERT_TRUE(store.set("k", "v", SetOptions{.tags = tags, .metadata = "first"}));
  ASSERT_TRUE(*store.set_metadata("k", "second"));
  ASSERT_TRUE(*store.expire("k", 1h));
  ASSERT_TRUE(store.set("k", pattern(5'000), with(pattern(kMetadataBytesMax))));
  Change changes[8];
  ASSERT_EQ(*watch.poll(changes), 3u);
  EXPECT_EQ(changes[0].metadata, "first");
  EXPECT_EQ(changes[0].tags, "\3red");
  EXPECT_EQ(changes[1].kind, ChangeKind::kPut);
  EXPECT_EQ(changes[1].value, "v");
  EXPECT_EQ(changes[1].metadata, "second");
  EXPECT_TRUE(changes[1].has_tag("red"));
  EXPECT_GT(changes[1].version, changes[0].version);
  // What a poll has answered stays, however often the memory is used again.
  for (unsigned i = 0; i != 200; ++i) ASSERT_TRUE(store.set("other", pattern(5'000, i), with(pattern(kMetadataBytesMax, i))));
  EXPECT_EQ(changes[0].metadata, "first");
  EXPECT_EQ(changes[2].metadata, pattern(kMetadataBytesMax));
  EXPECT_EQ(changes[2].tags, "");
  ASSERT_EQ(*of_values.poll(changes), 2u);
  EXPECT_EQ(changes[0].metadata, "first");
  EXPECT_EQ(changes[1].metadata, pattern(kMetadataBytesMax));
}

// One thread alone changes them; whatever others do to the entry, it finds what it has given.
TEST_F(MetadataTest, WhatIsKeptIsThatOfTheMomentOfTheWrite) {
  ASSERT_TRUE(store.set("k", "0", with("0")));
  std::atomic<bool> stop{false};
  std::atomic<unsigned> errors{0};
  std::vector<std::thread> others;
  others.emplace_back([&] {
    WriteBatch batch;
    for (unsigned n = 0; !stop.load(); ++n) {
      batch.clear();
      batch.set("k", numbered("batch ", n), SetOptions{.keep_metadata = true});
      batch.set("other", numbered("batch ", n), SetOptions{.metadata = "of the other", .keep_metadata = false});
      if (!store.write(batch)) errors.fetch_add(1);
    }
  });
  others.emplace_back([&] {
    for (unsigned n = 0; !stop.load(); ++n) {
      if (!store.set("k", numbered("set ", n), SetOptions{.keep_metadata = true})) errors.fetch_add(1);
      if (!store.append("k", "+")) errors.fetch_add(1);
      if (!store.expire("k", 1h)) errors.fetch_add(1);
    }
  });
  for (unsigned n = 1, last = quick_or_long(4'000u, 200'000u); n != last; ++n) {
    const std::string mine = std::string(n % 64, 'm') + std::to_string(n);
    ASSERT_TRUE(*store.set_metadata("k", mine));
    ASSERT_EQ(metadata_of(store, "k"), mine);
  }
  stop.store(true);
  for (auto& t : others) t.join();
  EXPECT_EQ(errors.load(), 0u);
}

TEST(MetadataPairs, AreFoundByTheirNames) {
  Metadata m;
  EXPECT_TRUE(m.empty());
  EXPECT_EQ(m.find("a"), std::nullopt);
  EXPECT_TRUE(m.set("type", "image/png"));
  EXPECT_TRUE(m.set("author", "ann"));
  EXPECT_TRUE(m.set("empty", ""));
  EXPECT_TRUE(m.set("\0z"sv, "\0\xff"sv));
  EXPECT_EQ(m.find("author"), "ann");
  EXPECT_EQ(m.find("type"), "image/png");
  EXPECT_EQ(m.find("empty"), "");
  EXPECT_EQ(m.find("\0z"sv), "\0\xff"sv);
  EXPECT_EQ(m.find("typ"), std::nullopt);
  EXPECT_EQ(m.find(""), std::nullopt);
  EXPECT_TRUE(m.set("author", "somebody else"));
  EXPECT_TRUE(m.set("type", "x"));
  std::string all;
  m.for_each([&](std::string_view name, std::string_view value) { all += std::string(name) + "=" + std::string(value) + ";"; });
  EXPECT_EQ(all, "\0z=\0\xff;author=somebody else;empty=;type=x;"sv);
  EXPECT_TRUE(m.erase("empty"));
  EXPECT_FALSE(m.erase("empty"));
  EXPECT_EQ(m.find("empty"), std::nullopt);
  EXPECT_EQ(m.view(), "\2\0z\2\0\0\xff\6author\15\0somebody else\4type\1\0x"sv);
  // One order, whatever the way there.
  Metadata other;
  EXPECT_TRUE(other.set("type", "x"));
  EXPECT_TRUE(other.set("\0z"sv, "\0\xff"sv));
  EXPECT_TRUE(other.set("author", "somebody else"));
  EXPECT_EQ(other.view(), m.view());
  Metadata read;
  EXPECT_TRUE(read.assign(m.view()));
  EXPECT_EQ(read.view(), m.view());
  m.clear();
  EXPECT_TRUE(m.empty());
  EXPECT_TRUE(read.assign(m.view()));
  EXPECT_TRUE(read.empty());
}

TEST(MetadataPairs, HaveTheirLimits) {
  Metadata m;
  EXPECT_FALSE(m.set("", "v"));
  EXPECT_FALSE(m.set(std::string(256, 'n'), "v"));
  EXPECT_FALSE(m.set("n", std::string(4'093, 'v')));
  EXPECT_TRUE(m.empty());
  EXPECT_TRUE(m.set("n", std::string(4'092, 'v')));
  EXPECT_EQ(m.view().size(), kMetadataBytesMax);
  EXPECT_FALSE(m.set("m", ""));
  EXPECT_EQ(m.find("n"), std::string(4'092, 'v'));
  EXPECT_TRUE(m.set("n", std::string(4'088, 'w'))) << "in place of the longer one";
  EXPECT_TRUE(m.set("m", ""));
  EXPECT_EQ(m.view().size(), kMetadataBytesMax);
  EXPECT_TRUE(m.set(std::string(255, 'n'), "") == false);
  EXPECT_TRUE(m.erase("n"));
  EXPECT_TRUE(m.set(std::string(255, 'n'), "v"));
  EXPECT_EQ(m.find(std::string(255, 'n')), "v");
}

TEST(MetadataPairs, OtherBytesAreNone) {
  Metadata m;
  for (const std::string_view bytes : {"\0"sv, "\0\0\0"sv, "\1a"sv, "\1a\0"sv, "\1a\1\0"sv, "\1a\0\1"sv, "\5a\0\0"sv, "\1a\0\0\1"sv,
                                       "\1b\0\0\1a\0\0"sv, "\1a\0\0\1a\0\0"sv}) {
    ASSERT_TRUE(m.set("was", "here"));
    EXPECT_FALSE(m.assign(bytes)) << testing::PrintToString(bytes);
    EXPECT_TRUE(m.empty());
  }
  EXPECT_FALSE(m.assign(std::string(kMetadataBytesMax + 1, 'a')));
  EXPECT_TRUE(m.assign("\1a\0\0\1b\1\0v"sv));
  EXPECT_EQ(m.find("b"), "v");
}

}  // namespace
}  // namespace tern::test
