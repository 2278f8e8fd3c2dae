// Leases and locks are kept as entries, and no call of a user's means one of these: whatever its key, prefix or pattern.
#include <tern/namespace.h>
#include <tern/snapshot.h>
#include <tern/store.h>
#include <tern/watch_set.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

using Names = std::vector<std::string>;

// As they are stored, as they were once, and what they begin with.
Names keys_like(LeaseId lease) {
  std::string id;
  for (int shift = 56; shift >= 0; shift -= 8) id += static_cast<char>(lease >> shift);
  Names keys;
  for (const std::string& before : {std::string("\xFF\xFF\xFD"), std::string("\1lease\1"), std::string("\xFF\0\0\xFF\xFF\xFD", 6)}) keys.push_back(before + id);
  for (const std::string& before : {std::string("\xFF\x80\0", 3), std::string("\xFF\x80\1"), std::string("\1lock\1")}) keys.push_back(before + "a");
  for (const char* whole : {"\xFF", "\xFF\x80", "\xFF\xFF", "\1", "a"}) keys.emplace_back(whole);
  return keys;
}

class LeaseKeysTest : public StoreTest {
 protected:
  // A lock in the store, one of the same name in a namespace, and a lease with one of each as its members.
  struct Held {
    explicit Held(const Store& s)
        : store(s), ns(*s.ns("room")), lease(*s.lease(10s)), lock(*s.lock("a", {.ttl = 10s, .owner = "me"})), of_ns(*ns.lock("a", {.lease = lease.id()})) {}
    void expect_untouched(const std::string& after) const {
      EXPECT_TRUE(*lock.is_held()) << after;
      EXPECT_TRUE(*of_ns.is_held()) << after;
      EXPECT_EQ(store.lock_info("a")->token, lock.token()) << after;
      EXPECT_EQ(store.lock_info("a")->owner.view(), "me") << after;
      EXPECT_EQ(ns.lock_info("a")->lease, lease.id()) << after;
      EXPECT_EQ(*lease.remaining(), 10s) << after;
      EXPECT_EQ(store.stats().leases, 2u) << after;
    }
    const Store& store;
    Namespace ns;
    Lease lease;
    Lock lock, of_ns;
  };

  template <class Handle>
  void call_everything(const Handle& h, const Held& held) {
    for (const LeaseId lease : {held.lease.id(), held.lock.lease()}) {
      for (const std::string& key : keys_like(lease)) {
        (void)every_keyed_call(h, key);
        held.expect_untouched("each call");
        ASSERT_TRUE(h.set(key, "mine"));
        EXPECT_EQ(value_of(h, key), "mine");
        EXPECT_TRUE(*h.expire(key, 1s));
        EXPECT_TRUE(*h.persist(key));
        WriteBatch batch;
        batch.require_value(key, "mine");
        batch.set(key, "by a batch");
        ASSERT_TRUE(h.write(batch));
        EXPECT_EQ(value_of(h, key), "by a batch");
        batch.clear();
        batch.del(key);
        ASSERT_TRUE(h.write(batch));
        EXPECT_FALSE(*h.exists(key));
        const Item items[] = {{key, "one of many"}};
        Result<std::uint64_t> set[1] = {Status::kNotFound};
        ASSERT_TRUE(h.set_many(items, set));
        ASSERT_TRUE(set[0]);
        EXPECT_TRUE(*h.set_metadata(key, "m"));
        const std::string_view names[] = {key};
        Result<bool> del[1] = {Status::kNotFound};
        ASSERT_TRUE(h.del_many(names, del));
        EXPECT_TRUE(*del[0]);
        ASSERT_TRUE(h.del_prefix(key));
        ASSERT_TRUE(h.del_subtree(key));
        held.expect_untouched("writes of one key");
      }
    }
    ASSERT_TRUE(h.del_pattern("**"));
    ASSERT_TRUE(h.del_pattern("?*"));
    ASSERT_TRUE(h.del_regex(*Regex::compile("(?s).*")));
    ASSERT_TRUE(h.del_tag("me"));
    held.expect_untouched("patterns");
  }
};

TEST_F(LeaseKeysTest, NoKeyedCallMeansOne) {
  const Held held(store);
  call_everything(store, held);
  call_everything(held.ns, held);
}

TEST_F(LeaseKeysTest, NothingThatListsMeetsOne) {
  for (const bool ordered : {true, false}) {
    Options o = small_options(&clock);
    o.ordered = ordered;
    Names removed;
    o.on_removed = [](void* user, std::string_view key, std::string_view, RemovalCause) { static_cast<Names*>(user)->emplace_back(key); };
    o.on_removed_user = &removed;
    const Store s = open_or_fail(o);
    WatchSet set = std::move(*WatchSet::open(s));
    ASSERT_TRUE(set.add_prefix(""));
    Watch all = std::move(*s.watch_prefix("")), glob = std::move(*s.watch_glob("**")), regex = std::move(*s.watch_regex("(?s).*"));
    Watch of_ns = std::move(*s.ns("room")->watch_prefix(""));
    {
      Held held(s);
      ASSERT_TRUE(held.lock.keep_alive());
      Names met;
      const auto meet = [&](std::string_view key, std::string_view) {
        met.emplace_back(key);
        return true;
      };
      const View view = *s.view(), view_of_ns = *held.ns.view();
      ASSERT_TRUE(s.iterate("", meet));
      ASSERT_TRUE(held.ns.iterate("", meet));
      ASSERT_TRUE(s.scan({}, [&](const ViewEntry& e) { return meet(e.key, e.value); }));
      EXPECT_EQ(s.keys("**")->size(), 0u);
      ASSERT_TRUE(view.iterate("", meet));
      ASSERT_TRUE(view_of_ns.iterate("", meet));
      EXPECT_EQ(met, Names());
      EXPECT_EQ(*view.size(), 0u);
      EXPECT_EQ(*view_of_ns.size(), 0u);
      EXPECT_EQ(held.ns.size(), 0u);
      ASSERT_TRUE(held.lock.unlock());
      ASSERT_TRUE(held.of_ns.unlock());
      ASSERT_TRUE(*held.lease.revoke());
    }
    const Lease short_one = *s.lease(1s);
    clock.advance(1s);
    for (int i = 0; i != 1'000; ++i) ASSERT_TRUE(s.tick(1ms));
    EXPECT_EQ(s.stats().leases, 0u);
    EXPECT_EQ(removed, Names());
    Change changes[8];
    for (Watch* w : {&all, &glob, &regex, &of_ns}) EXPECT_EQ(*w->poll(changes), 0u);
    EXPECT_EQ(*set.poll(changes), 0u);
    EXPECT_TRUE(whole(s));
  }
}

// The store's own clear takes its locks, and all leases; a namespace's its locks. No prefix but the empty one does.
TEST_F(LeaseKeysTest, AClearTakesThem) {
  for (const bool by_prefix : {false, true}) {
    const auto clear = [&](const auto& h) { return by_prefix ? h.del_prefix("") : h.clear(); };
    const Held held(store);
    const Namespace other = *store.ns("other");
    ASSERT_TRUE(clear(other));
    held.expect_untouched("another namespace's clear");
    ASSERT_TRUE(store.set("member", "v", {.lease = held.lease.id()}));
    ASSERT_TRUE(held.ns.set("member", "v", {.lease = held.lease.id()}));
    ASSERT_TRUE(clear(held.ns));
    EXPECT_FALSE(*held.of_ns.is_held());
    EXPECT_TRUE(*held.lock.is_held());
    EXPECT_EQ(*held.lease.remaining(), 10s);
    EXPECT_FALSE(*held.ns.exists("member"));
    EXPECT_TRUE(*store.exists("member"));
    ASSERT_TRUE(held.ns.set("member", "v", {.lease = held.lease.id()}));
    const Lock of_other = *other.lock("a", {.lease = held.lease.id()});
    ASSERT_TRUE(clear(store));
    EXPECT_FALSE(*held.lock.is_held());
    EXPECT_TRUE(held.lease.remaining().missing());
    EXPECT_FALSE(*store.exists("member"));
    EXPECT_FALSE(*held.ns.exists("member")) << "its lease has ended";
    EXPECT_FALSE(*of_other.is_held()) << "as above";
    EXPECT_TRUE(store.try_lock("a"));
    for (int i = 0; i != 1'000; ++i) ASSERT_TRUE(store.tick(1ms));
    EXPECT_EQ(store.stats().leases, 0u);
    EXPECT_TRUE(whole(store));
  }
}

TEST_F(LeaseKeysTest, ALeasesKeysAreThoseOfItsEntries) {
  const Held held(store);
  ASSERT_TRUE(store.set("\1lock\1a", "v", {.lease = held.lease.id()}));
  ASSERT_TRUE(held.ns.set("k", "v", {.lease = held.lease.id()}));
  const Lock more = *store.lock("more", {.lease = held.lease.id()});
  Names keys;
  EXPECT_EQ(*held.lease.keys([&](std::string_view ns, std::string_view key) { keys.push_back(std::string(ns) + "/" + std::string(key)); }), 2u);
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(keys, (Names{"/\1lock\1a", "room/k"}));
}

TEST_F(LeaseKeysTest, AFenceNamesALockAndNothingElse) {
  const Held held(store);
  const Error refused{Status::kInvalidArgument, Field::kFence};
  const std::string long_name(kLockNameBytesMax + 1, 'l');
  for (const Fence& fence : {Fence{"", 1, {}}, Fence{long_name, 1, {}}, Fence{"a", 1, std::uint16_t{0x7FFD}}, Fence{"a", 1, std::uint16_t{0xFFFF}},
                             Fence{"a", 1, std::uint16_t{1'025}}}) {
    WriteBatch batch, nothing;
    batch.require_fence(fence);
    EXPECT_EQ(store.write(batch).error(), refused);
    EXPECT_EQ(batch.failed(), 0u);
    EXPECT_EQ(store.transact(batch, nothing, nothing).error(), refused);
  }
  for (const Lock* lock : {&held.lock, &held.of_ns}) {
    WriteBatch batch;
    batch.require_fence(lock->fence());
    batch.set("k", "v");
    EXPECT_TRUE(store.write(batch));
    batch.clear();
    batch.require_fence({lock->name(), lock->token() + 1, lock->fence().ns});
    EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  }
  const std::string longest(kLockNameBytesMax, 'l');
  const Lock lock = *store.lock(longest);
  EXPECT_TRUE(store.set("k", "v", SetOptions{.if_fence = lock.fence()}));
}

// Who reads a file is told which of its entries are a user's.
TEST_F(LeaseKeysTest, ASnapshotSaysWhichTheyAre) {
  const std::string path = testing::TempDir() + "tern_lease_keys_" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) + ".snap";
  Held held(store);
  ASSERT_TRUE(store.set("\1lock\1k", "v"));
  ASSERT_TRUE(store.save(path));
  Names met;
  ASSERT_TRUE(read_snapshot(path, [&](const SnapshotEntry& e) {
    const char* const kinds[] = {"", "lease ", "lock "};
    met.push_back(e.made != nullptr ? "namespace " + std::string(e.made->name)
                                    : std::to_string(e.ns) + kinds[static_cast<unsigned>(e.kind)] + std::string(e.key) + std::string(e.value));
    return true;
  }));
  std::sort(met.begin(), met.end());
  EXPECT_EQ(met, (Names{"0\1lock\1kv", "0lease ", "0lease ", "0lock ame", "1lock a", "namespace room"}));
  for (const char* more : {"", ".1", ".lock"}) std::filesystem::remove(path + more);
}

}  // namespace
}  // namespace tern::test
