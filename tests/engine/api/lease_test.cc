// Leases: entries that go together, at the instant when their lease ends, for whoever looks and however.
#include <tern/store.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

using namespace std::literals;

const Error kOver{Status::kNotFound, Field::kLease};

SetOptions with(const Lease& lease) {
  SetOptions o;
  o.lease = lease.id();
  return o;
}
void sweep(const Store& store) {
  for (int n = 0; n != 100'000 && store.stats().owed.lease_ends != 0; ++n) ASSERT_TRUE(store.tick(milliseconds(1)));
}
std::vector<std::string> keys_of(const Lease& lease) {
  std::vector<std::string> keys;
  const Result<std::uint64_t> count = lease.keys([&](std::string_view key) { keys.emplace_back(key); });
  EXPECT_TRUE(count) << testing::PrintToString(count.error());
  EXPECT_EQ(*count, keys.size());
  std::sort(keys.begin(), keys.end());
  return keys;
}

class LeaseTest : public StoreTest {
 protected:
  Lease granted(milliseconds ttl) {
    const Result<Lease> lease = store.lease(ttl);
    EXPECT_TRUE(lease) << testing::PrintToString(lease.error());
    return *lease;
  }
};

// However a key is read, it is there or it isn't.
void expect_read(const Store& store, std::string_view key, bool there) {
  char buffer[16];
  const std::span<char> out(buffer);
  EXPECT_EQ(store.get(key).found(), there);
  EXPECT_EQ(store.get(key, out).found(), there);
  EXPECT_EQ(store.get(store.prefetch(key), out).found(), there);
  EXPECT_EQ(store.get_entry(key).found(), there);
  EXPECT_EQ(*store.exists(key), there);
  EXPECT_EQ(store.ttl(key).found(), there);
  EXPECT_EQ(store.hold(key).found(), there);
  EXPECT_EQ(store.visit(key, [](std::string_view) {}).found(), there);
  EXPECT_EQ(store.inspect(key).found(), there);
  EXPECT_EQ(store.memory_usage(key).found(), there);
  const std::string_view keys[] = {key, "another"};
  Values values;
  ASSERT_TRUE(store.get_many(keys, values));
  EXPECT_EQ(values[0].found(), there);
  ASSERT_TRUE(store.get_many_at_one_moment(keys, values));
  EXPECT_EQ(values[0].found(), there);
  const std::string_view one[] = {key};
  ASSERT_TRUE(store.get_many_at_one_moment(one, values));
  EXPECT_EQ(values[0].found(), there);
  Lookup<std::size_t> sizes[2];
  char room[64];
  ASSERT_TRUE(store.get_many(keys, room, 32, sizes));
  EXPECT_EQ(sizes[0].found(), there);
  ASSERT_TRUE(store.visit_many(keys, [&](std::size_t i, Lookup<std::string_view> v) {
    if (i == 0) {
      EXPECT_EQ(v.found(), there);
    }
  }));
  unsigned met = 0;
  ASSERT_TRUE(store.iterate(key, [&](std::string_view k, std::string_view) { return met += k == key, true; }));
  EXPECT_EQ(met, there ? 1u : 0u);
  const auto view = store.view();
  EXPECT_EQ(view->get(key).found(), there);
  const auto loaded = store.get_or_load(key, [](std::string_view) { return Loaded{}; });
  EXPECT_EQ(loaded.found(), there);
}

TEST_F(LeaseTest, ItsEntriesGoAtItsInstantAndNotBefore) {
  const Lease lease = granted(1s);
  ASSERT_TRUE(store.set("a", "1", with(lease)));
  ASSERT_TRUE(store.set("b", "2", with(lease)));
  ASSERT_TRUE(store.set("free", "3"));
  clock.advance(999ms);
  expect_read(store, "a", true);
  EXPECT_EQ(*lease.remaining(), 1ms);
  clock.advance(1ms);
  expect_read(store, "a", false);
  expect_read(store, "b", false);
  expect_read(store, "free", true);
  EXPECT_EQ(lease.remaining().error(), kOver);
  EXPECT_EQ(lease.keep_alive().error(), kOver);
  EXPECT_EQ(store.set("c", "4", with(lease)).error(), kOver);
  EXPECT_EQ(lease.attach("free").error(), kOver);
  EXPECT_FALSE(*lease.revoke());
  EXPECT_EQ(value_of(store, "c"), std::nullopt);
  ASSERT_TRUE(store.cleanup_expired());  // revoke has removed the lease itself
  sweep(store);
  EXPECT_EQ(store.stats().entries, 1u);
  EXPECT_EQ(store.stats().leases, 0u);
  EXPECT_EQ(store.stats().unevictable, 0u);
}

TEST_F(LeaseTest, KeepAliveBeginsItsTimeAnew) {
  const Lease lease = granted(1s);
  ASSERT_TRUE(store.set("a", "1", with(lease)));
  for (int i = 0; i != 5; ++i) {
    clock.advance(700ms);
    ASSERT_EQ(*lease.keep_alive(), 1s);
    ASSERT_TRUE(store.tick(milliseconds(1)));
  }
  EXPECT_EQ(value_of(store, "a"), "1");
  // Also while a view is open, which sees nothing of it.
  const auto view = store.view();
  ASSERT_TRUE(view->get("a"));
  clock.advance(700ms);
  ASSERT_TRUE(lease.keep_alive());
  clock.advance(700ms);
  EXPECT_EQ(value_of(store, "a"), "1");
  EXPECT_TRUE(view->get("a").found());
  clock.advance(300ms);
  EXPECT_EQ(value_of(store, "a"), std::nullopt);
}

TEST_F(LeaseTest, RevokeTakesThemAtOnceAndViewsKeepThem) {
  const Lease lease = granted(1h);
  const Lease other = granted(1h);
  for (unsigned i = 0; i != 1'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v", with(i % 2 == 0 ? lease : other)));
  const auto before = store.view();
  ASSERT_TRUE(*lease.revoke());
  EXPECT_FALSE(*lease.revoke());
  const auto after = store.view();
  EXPECT_EQ(lease.remaining().error(), kOver);
  for (unsigned i = 0; i != 1'000; ++i) {
    ASSERT_EQ(value_of(store, numbered("k", i)).has_value(), i % 2 == 1);
    ASSERT_EQ(value_of(*after, numbered("k", i)).has_value(), i % 2 == 1);
    ASSERT_TRUE(value_of(*before, numbered("k", i)).has_value());
  }
  EXPECT_EQ(*before->size(), 1'000u);
  EXPECT_EQ(*after->size(), 500u);
  expect_read(store, "k0", false);
  sweep(store);
  EXPECT_EQ(store.stats().entries, 501u);
  EXPECT_EQ(*before->size(), 1'000u);
  EXPECT_EQ(store.stats().expired, 500u);
}

TEST_F(LeaseTest, AMemberWhoseLeaseIsOverIsAbsentForEveryWrite) {
  const std::string_view keys[] = {"set", "nx", "present", "cas", "casv", "cad", "del", "gdel", "gset", "inc", "app", "upd", "exp", "per", "batch"};
  const Lease lease = granted(1s);
  std::uint64_t version = 0;
  for (const std::string_view key : keys) version = *store.set(key, "5", with(lease));
  clock.advance(1s);
  EXPECT_TRUE(store.set("set", "6"));
  EXPECT_TRUE(*store.set_nx("nx", "6"));
  EXPECT_EQ(store.set("present", "6", SetOptions{.if_present = true}).status(), Status::kNotFound);
  EXPECT_FALSE(*store.compare_and_swap("cas", "5", "6"));
  EXPECT_FALSE(*store.compare_and_swap_version("casv", version, "6"));
  EXPECT_FALSE(*store.compare_and_delete("cad", "5"));
  EXPECT_FALSE(*store.del("del"));
  EXPECT_TRUE(store.get_and_del("gdel").missing());
  EXPECT_TRUE(store.get_and_set("gset", "6").missing());
  EXPECT_EQ(*store.increment("inc"), 1);
  EXPECT_EQ(*store.append("app", "6"), 1u);
  bool seen = true;
  ASSERT_TRUE(store.update("upd", [&](std::optional<std::string_view> v) {
    seen = v.has_value();
    return Update::keep();
  }));
  EXPECT_FALSE(seen);
  EXPECT_FALSE(*store.expire("exp", 1h));
  EXPECT_FALSE(*store.persist("per"));
  WriteBatch batch;
  batch.require_absent("batch");
  batch.set("batch", "6");
  EXPECT_TRUE(store.write(batch));
  for (const std::string_view key : {"set", "nx", "gset", "batch"}) EXPECT_EQ(value_of(store, key), "6") << key;
  EXPECT_EQ(value_of(store, "inc"), "1");
  EXPECT_EQ(value_of(store, "app"), "6");
  sweep(store);
}

TEST_F(LeaseTest, WhatChangesAValueStaysAttachedAndASetDetaches) {
  const Lease lease = granted(1s);
  for (const char* key : {"app", "inc", "upd", "cas", "exp", "set", "gset", "nothing"}) ASSERT_TRUE(store.set(key, "1", with(lease)));
  ASSERT_TRUE(store.append("app", "2"));
  ASSERT_TRUE(store.increment("inc"));
  ASSERT_TRUE(store.update("upd", [](auto) { return Update::replace("new"); }));
  ASSERT_TRUE(*store.compare_and_swap("cas", "1", "2"));
  ASSERT_TRUE(*store.expire("exp", 1h));
  ASSERT_TRUE(store.set("set", "2"));
  ASSERT_TRUE(store.get_and_set("gset", "2"));
  EXPECT_EQ(keys_of(lease), (std::vector<std::string>{"app", "cas", "exp", "inc", "nothing", "upd"}));
  ASSERT_TRUE(*lease.revoke());
  for (const char* key : {"app", "inc", "upd", "cas", "exp", "nothing"}) EXPECT_EQ(value_of(store, key), std::nullopt) << key;
  for (const char* key : {"set", "gset"}) EXPECT_EQ(value_of(store, key), "2") << key;
  EXPECT_EQ(keys_of(lease).size(), 0u);
}

TEST_F(LeaseTest, AttachKeepsWhatTheEntryHas) {
  const std::string_view tags[] = {"red", "blue"};
  SetOptions o;
  o.tags = tags;
  o.ttl = 1h;
  o.evictable = false;
  ASSERT_TRUE(store.set("a", "1", o));
  ASSERT_TRUE(store.set("plain", "2"));
  const Lease first = granted(1s), second = granted(10s);
  ASSERT_TRUE(*first.attach("a"));
  ASSERT_TRUE(*first.attach("plain"));
  ASSERT_TRUE(*second.attach("a"));
  EXPECT_FALSE(*second.attach("none"));
  EXPECT_EQ(second.attach("").error().status, Status::kInvalidKey);
  EXPECT_EQ(Lease().attach("a").error().status, Status::kClosed);
  EXPECT_EQ(store.lease_of(0).attach("a").error(), kOver);
  EXPECT_EQ(*store.lease_of(0).keys([](std::string_view) {}), 0u) << "no entry without a lease is one of it";
  clock.advance(1s);
  EXPECT_EQ(value_of(store, "plain"), std::nullopt);
  EXPECT_EQ(value_of(store, "a"), "1");
  EXPECT_EQ(store.get_entry("a")->ttl, 1h - 1s);
  EXPECT_EQ(store.stats().unevictable, 3u);  // and both leases, of which one is past its time
  ASSERT_TRUE(store.del_tag("blue"));
  EXPECT_EQ(value_of(store, "a"), std::nullopt);
}

// Every shape of record, with tags and without.
TEST_F(LeaseTest, EveryShapeOfRecordHasIt) {
  const std::string_view tags[] = {"shape"};
  const std::string keys[] = {"k", pattern(254, 1), pattern(255, 2), pattern(9'000, 3), pattern(kKeyBytesMax, 4)};
  const std::string values[] = {"", "v", pattern(200, 5), pattern(9'000, 6), pattern(300'000, 7)};
  for (unsigned round = 0; round != 2; ++round) {
    const Lease lease = granted(1s);
    for (unsigned life = 0; life != 6; ++life) {
      unsigned count = 0;
      for (const std::string& key : keys) {
        for (const std::string& value : values) {
          SetOptions o = with(lease);
          if (life % 3 == 1) o.ttl = 1h;
          if (life % 3 == 2) o.idle = 1h;
          if (life / 3 == 1) o.tags = tags;
          const std::string name = numbered("", count++) + key.substr(0, kKeyBytesMax - 4);
          ASSERT_TRUE(store.set(name, value, o));
          ASSERT_EQ(value_of(store, name), value);
          ASSERT_EQ(store.get_entry(name)->ttl.has_value(), life % 3 != 0);
        }
      }
      ASSERT_EQ(keys_of(lease).size(), 25u);
      if (life / 3 == 1 && life % 3 == 2 && round == 0) {
        ASSERT_TRUE(store.del_tag("shape"));
        ASSERT_EQ(keys_of(lease).size(), 0u);
      }
    }
    ASSERT_TRUE(*lease.revoke());
    EXPECT_EQ(*store.view()->size(), 0u);
    sweep(store);
    ASSERT_TRUE(whole(store));
  }
  while (store.stats().owed.invalidations != 0) ASSERT_TRUE(store.tick(milliseconds(1)));
  EXPECT_EQ(store.stats().entries, 0u);
  EXPECT_EQ(store.stats().expiring, 0u);
}

TEST_F(LeaseTest, BatchesAttachAndJudge) {
  const Lease lease = granted(1s);
  WriteBatch batch;
  batch.set("a", "1", with(lease));
  batch.set("b", "2", with(lease));
  batch.set("c", "3");
  ASSERT_TRUE(store.write(batch));
  batch.clear();
  batch.require_value("a", "1");
  batch.set("d", "4");
  ASSERT_TRUE(store.write(batch));
  clock.advance(1s);
  EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  EXPECT_EQ(batch.failed(), 0u);
  batch.clear();
  batch.set("e", "5", with(lease));
  EXPECT_EQ(store.write(batch).error(), kOver);
  EXPECT_EQ(batch.failed(), 0u);
  batch.clear();
  batch.require_absent("a");
  batch.set("a", "6", SetOptions{.keep_ttl = true});
  batch.del("b");
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(value_of(store, "a"), "6");
  EXPECT_EQ(value_of(store, "b"), std::nullopt);
  EXPECT_EQ(value_of(store, "c"), "3");
  sweep(store);
}

TEST_F(LeaseTest, ArgumentsAreChecked) {
  EXPECT_EQ(store.lease(0ms).error(), (Error{Status::kInvalidArgument, Field::kTtl}));
  EXPECT_EQ(store.lease(-1ms).error(), (Error{Status::kInvalidArgument, Field::kTtl}));
  EXPECT_EQ(store.lease(milliseconds(std::int64_t{140} * 365 * 86'400'000)).error(), (Error{Status::kOutOfRange, Field::kTtl}));
  EXPECT_EQ(store.set("a", "1", SetOptions{.lease = 77}).error(), kOver);
  const Lease lease = granted(1s);
  auto draft = store.allocate("draft", 1);
  EXPECT_EQ(draft->publish(with(lease)).error(), (Error{Status::kInvalidArgument, Field::kLease}));
  const Lease none;
  EXPECT_EQ(none.keep_alive().status(), Status::kClosed);
  EXPECT_EQ(none.id(), 0u);
  store.close();
  EXPECT_EQ(lease.keep_alive().status(), Status::kClosed);
  EXPECT_EQ(lease.revoke().status(), Status::kClosed);
  EXPECT_EQ(lease.remaining().status(), Status::kClosed);
  EXPECT_EQ(lease.keys([](std::string_view) {}).status(), Status::kClosed);
}

TEST_F(LeaseTest, TheirNumberIsBounded) {
  Options o = small_options(&clock);
  o.memory_bytes = 4 * kMiB;
  const Store tiny = open_or_fail(o);
  std::vector<Lease> leases;
  for (;;) {
    const Result<Lease> lease = tiny.lease(1s);
    if (!lease) {
      EXPECT_EQ(lease.error(), (Error{Status::kOutOfMemory, Field::kLeases}));
      break;
    }
    ASSERT_TRUE(leases.empty() || leases.back().id() < lease->id());
    leases.push_back(*lease);
  }
  EXPECT_EQ(leases.size(), 4'096u);
  EXPECT_EQ(tiny.stats().leases, 4'096u);
  ASSERT_TRUE(*leases[7].revoke());
  EXPECT_TRUE(tiny.lease(1s));
  EXPECT_FALSE(tiny.lease(1s));
  clock.advance(1s);
  EXPECT_EQ(*tiny.cleanup_expired(), 4'096u);
  EXPECT_EQ(tiny.stats().leases, 0u);
  EXPECT_TRUE(tiny.lease(1s));
  EXPECT_TRUE(whole(tiny));
}

// The key's block comes by itself, and the lease is in another.
TEST_F(LeaseTest, WhatIsLoadedWhileItServesHasItFromTheFirstCallOn) {
  const std::string path = testing::TempDir() + "tern_leases_" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) + ".snap";
  const Lease lease = granted(1h);
  for (unsigned i = 0; i != 3'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(300, i)));
  ASSERT_TRUE(store.save(path));
  for (unsigned i = 0; i != 20; ++i) {
    SnapshotOptions how;
    how.copy = how.own = false;
    const Result<Store> opened = Store::open(path, small_options(&clock), how);
    ASSERT_TRUE(opened) << testing::PrintToString(opened.error());
    ASSERT_GT(opened->stats().owed.snapshot_blocks, 4u);
    const std::string key = numbered("k", i);
    if (i % 2 == 0) {
      EXPECT_TRUE(opened->set(key, "v", SetOptions{.lease = lease.id()})) << i;
    } else {
      EXPECT_EQ(opened->lease_of(lease.id()).attach(key).value(), true) << i;
    }
    EXPECT_EQ(opened->set(key, "v", SetOptions{.lease = lease.id() + 1}).error(), kOver);
    EXPECT_EQ(*opened->lease_of(lease.id()).keys([](std::string_view) {}), 1u);
    EXPECT_TRUE(whole(*opened));
  }
  for (const char* more : {"", ".1", ".lock"}) std::filesystem::remove(path + more);
}

// Thousands of ends cost a lap over the buckets, not one each.
TEST_F(LeaseTest, ThousandsEndTogether) {
  std::vector<Lease> leases;
  for (unsigned i = 0; i != 5'000; ++i) {
    leases.push_back(granted(milliseconds(1'000 + i % 100)));
    for (unsigned k = 0; k != 3; ++k) ASSERT_TRUE(store.set(numbered(numbered("m", i) + ":", k), "v", with(leases.back())));
  }
  for (unsigned i = 0; i != 5'000; i += 2) ASSERT_TRUE(*leases[i].revoke());
  EXPECT_EQ(*store.view()->size(), 2'500u * 3);
  clock.advance(1'050ms);
  // Those with an odd number up to 50 have ended, too.
  EXPECT_EQ(*store.view()->size(), 1'250u * 3);
  clock.advance(50ms);
  EXPECT_EQ(*store.view()->size(), 0u);
  ASSERT_TRUE(*store.cleanup_expired());
  sweep(store);
  EXPECT_EQ(store.stats().entries, 0u);
  EXPECT_EQ(store.stats().leases, 0u);
}

TEST_F(LeaseTest, AFullStoreKeepsLeasesAndTakesWhatIsOver) {
  Options o = small_options(&clock);
  o.memory_bytes = 4 * kMiB;
  const Store full = open_or_fail(o);
  const Lease lease = *full.lease(1h), gone = *full.lease(1s);
  SetOptions kept = with(lease);
  kept.evictable = false;
  for (unsigned i = 0; i != 100; ++i) ASSERT_TRUE(full.set(numbered("kept", i), "v", kept));
  for (unsigned i = 0; i != 40'000; ++i) ASSERT_TRUE(full.set(numbered("fill", i), pattern(100)));
  EXPECT_GT(full.stats().evicted, 0u);
  EXPECT_TRUE(lease.remaining().found());
  EXPECT_EQ(keys_of(lease).size(), 100u);
  ASSERT_TRUE(*lease.revoke());
  EXPECT_EQ(keys_of(lease).size(), 0u);
  EXPECT_TRUE(whole(full));
  // With eviction off, a write that finds no room takes what is over.
  o.eviction = false;
  const Store strict = open_or_fail(o);
  const Lease all = *strict.lease(1h);
  unsigned count = 0;
  while (strict.set(numbered("fill", count), pattern(100), with(all))) ++count;
  ASSERT_TRUE(*all.revoke());
  for (unsigned i = 0; i != count / 2; ++i) ASSERT_TRUE(strict.set(numbered("new", i), pattern(100))) << i;
  EXPECT_TRUE(whole(strict));
}

TEST_F(LeaseTest, RemovalsAreToldOnceAsExpired) {
  struct Told {
    unsigned expired = 0, other = 0;
  } told;
  Options o = small_options(&clock);
  o.on_removed = [](void* user, std::string_view key, std::string_view, RemovalCause cause) {
    auto& t = *static_cast<Told*>(user);
    if (!key.starts_with("m")) return;
    ++(cause == RemovalCause::kExpired ? t.expired : t.other);
  };
  o.on_removed_user = &told;
  const Store heard = open_or_fail(o);
  auto watch = heard.watch_prefix("m");
  const Lease lease = *heard.lease(1s);
  for (unsigned i = 0; i != 50; ++i) ASSERT_TRUE(heard.set(numbered("m", i), "v", with(lease)));
  clock.advance(1s);
  ASSERT_TRUE(heard.set("m7", "again"));
  ASSERT_TRUE(*heard.cleanup_expired());
  sweep(heard);
  EXPECT_EQ(told.expired, 50u);
  EXPECT_EQ(told.other, 0u);
  std::vector<Change> changes(256);
  const std::size_t n = *watch->poll(changes);
  EXPECT_EQ(std::count_if(changes.begin(), changes.begin() + static_cast<std::ptrdiff_t>(n),
                          [](const Change& c) { return c.kind == ChangeKind::kExpire; }),
            49);
}

TEST_F(LeaseTest, ClearEndsThemAll) {
  const Lease lease = granted(1h);
  ASSERT_TRUE(store.set("a", "1", with(lease)));
  ASSERT_TRUE(store.clear());
  EXPECT_EQ(lease.keep_alive().error(), kOver);
  EXPECT_EQ(store.set("a", "1", with(lease)).error(), kOver);
  while (store.stats().owed.invalidations != 0) ASSERT_TRUE(store.tick(milliseconds(1)));
  sweep(store);
  EXPECT_EQ(store.stats().leases, 0u);
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(LeaseTest, OrderedStoresDoTheSame) {
  Options o = small_options(&clock);
  o.ordered = true;
  const Store ordered = open_or_fail(o);
  const Lease lease = *ordered.lease(1s);
  for (unsigned i = 0; i != 300; ++i) ASSERT_TRUE(ordered.set(numbered("m", i), "v", i % 3 == 0 ? with(lease) : SetOptions()));
  expect_read(ordered, "m3", true);
  clock.advance(1s);
  expect_read(ordered, "m3", false);
  unsigned met = 0;
  ASSERT_TRUE(ordered.iterate("m", [&](std::string_view, std::string_view) { return ++met, true; }));
  EXPECT_EQ(met, 200u);
  ASSERT_TRUE(*ordered.cleanup_expired());
  sweep(ordered);
  EXPECT_EQ(ordered.stats().entries, 200u);
  EXPECT_TRUE(whole(ordered));
}

}  // namespace
}  // namespace tern::test
