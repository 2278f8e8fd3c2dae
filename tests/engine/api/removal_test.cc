// What Options::on_removed is told, way by way: each entry that goes once, with its value and its cause; what is replaced, or
// moves to another deadline, never.
#include <tern/namespace.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <thread>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

struct Removed {
  std::string key, value;
  RemovalCause cause;
  friend bool operator==(const Removed&, const Removed&) = default;
  friend bool operator<(const Removed& a, const Removed& b) { return std::tie(a.key, a.value) < std::tie(b.key, b.value); }
};
void PrintTo(const Removed& r, std::ostream* out) { *out << r.key << "=" << r.value << " cause " << static_cast<int>(r.cause); }
constexpr RemovalCause kEvicted = RemovalCause::kEvicted, kExpired = RemovalCause::kExpired, kDeleted = RemovalCause::kDeleted,
                       kCleared = RemovalCause::kCleared;
using List = std::vector<Removed>;

class RemovalTest : public testing::Test {
 protected:
  RemovalTest() : store(open_or_fail(options())) {}
  void TearDown() override { EXPECT_TRUE(whole(store)); }
  Options options() {
    Options o = small_options(&clock);
    o.on_removed_user = this;
    o.on_removed = [](void* user, std::string_view key, std::string_view value, RemovalCause cause) {
      auto& self = *static_cast<RemovalTest*>(user);
      const std::lock_guard lock(self.mutex);
      self.told.push_back({std::string(key), std::string(value), cause});
    };
    return o;
  }
  // Since the last call, sorted by key.
  List take() {
    const std::lock_guard lock(mutex);
    List all = std::exchange(told, {});
    std::sort(all.begin(), all.end());
    return all;
  }
  List after_maintenance() {
    for (int i = 0; i != 200; ++i) EXPECT_TRUE(store.tick(1ms));
    return take();
  }
  void set(std::string_view key, std::string_view value, const SetOptions& how = {}) { ASSERT_TRUE(store.set(key, value, how)); }

  ManualClock clock;
  std::mutex mutex;
  List told;
  Store store;
};

TEST_F(RemovalTest, WhatIsReplacedIsNotRemoved) {
  set("k", "1");
  set("k", "2");
  set("k", "3", {.ttl = 10s});
  ASSERT_TRUE(store.expire("k", 20s));
  ASSERT_TRUE(store.persist("k"));
  ASSERT_TRUE(store.append("k", "x"));
  ASSERT_TRUE(*store.compare_and_swap("k", "3x", "4"));
  ASSERT_TRUE(store.get_and_set("k", "5"));
  ASSERT_TRUE(store.increment("k"));
  ASSERT_TRUE(store.update("k", [](auto) { return Update::replace("7"); }));
  WriteBatch batch;
  batch.set("k", "8");
  ASSERT_TRUE(store.write(batch));
  // Nor what was never there, or didn't happen.
  ASSERT_FALSE(*store.del("none"));
  ASSERT_FALSE(*store.compare_and_delete("k", "1"));
  WriteBatch fails;
  fails.del("k");
  fails.require_absent("k");
  ASSERT_EQ(store.write(fails).status(), Status::kConflict);
  EXPECT_EQ(after_maintenance(), List{});
}

TEST_F(RemovalTest, EachWayToDeleteIsOneDeletion) {
  for (const char* key : {"a", "b", "c", "d", "e", "f", "g.x", "g.y"}) set(key, key);
  ASSERT_TRUE(*store.del("a"));
  EXPECT_EQ(take(), (List{{"a", "a", kDeleted}})) << "told before the call is over";
  ASSERT_TRUE(store.get_and_del("b"));
  ASSERT_TRUE(*store.compare_and_delete("c", "c"));
  const std::string_view many[] = {"d", "none", "d"};
  Result<bool> answers[3];
  ASSERT_TRUE(store.del_many(many, answers));
  ASSERT_TRUE(store.update("e", [](auto) { return Update::remove(); }));
  WriteBatch batch;
  batch.del("f");
  batch.del("none");
  ASSERT_TRUE(store.write(batch));
  ASSERT_EQ(*store.del_pattern("g.*"), 2u);
  EXPECT_EQ(take(), (List{{"b", "b", kDeleted}, {"c", "c", kDeleted}, {"d", "d", kDeleted}, {"e", "e", kDeleted}, {"f", "f", kDeleted},
                          {"g.x", "g.x", kDeleted}, {"g.y", "g.y", kDeleted}}));
  EXPECT_EQ(after_maintenance(), List{});
}

TEST_F(RemovalTest, WhatIsOverExpiresWhoeverFindsOut) {
  const SetOptions short_lived{.ttl = 10ms};
  for (const char* key : {"batch", "cleanup", "del", "nx", "over", "tick"}) set(key, key, short_lived);
  set("now", "now");
  ASSERT_TRUE(*store.expire("now", 0ms));  // ends it: not a del
  EXPECT_EQ(take(), (List{{"now", "now", kExpired}}));
  clock.advance(10ms);
  EXPECT_FALSE(store.get("over")) << "a read removes nothing";
  EXPECT_EQ(take(), List{});
  set("over", "new");
  ASSERT_TRUE(*store.set_nx("nx", "new"));
  ASSERT_FALSE(*store.del("del"));
  WriteBatch batch;
  batch.set("batch", "new");
  ASSERT_TRUE(store.write(batch));
  EXPECT_EQ(take(), (List{{"batch", "batch", kExpired}, {"del", "del", kExpired}, {"nx", "nx", kExpired}, {"over", "over", kExpired}}));
  EXPECT_EQ(after_maintenance(), (List{{"cleanup", "cleanup", kExpired}, {"tick", "tick", kExpired}}));
  set("cleanup", "2", short_lived);
  clock.advance(10ms);
  ASSERT_EQ(*store.cleanup_expired(), 1u);
  EXPECT_EQ(take(), (List{{"cleanup", "2", kExpired}}));
  EXPECT_EQ(after_maintenance(), List{}) << "those that took their places";
}

TEST_F(RemovalTest, AMemberExpiresWithItsLease) {
  const Lease lease = *store.lease(100ms);
  set("free", "1");
  set("member", "2", {.lease = lease.id()});
  set("member.over", "3", {.lease = lease.id()});
  ASSERT_TRUE(*lease.revoke());
  set("member.over", "4");
  EXPECT_EQ(take(), (List{{"member.over", "3", kExpired}}));
  EXPECT_EQ(after_maintenance(), (List{{"member", "2", kExpired}})) << "and nobody hears of the lease itself";
  { const auto lock = store.lock("l", {.ttl = 1s}); }
  EXPECT_EQ(after_maintenance(), List{});
}

TEST_F(RemovalTest, WhatAPointTakesIsClearedOnce) {
  const std::string_view tags[] = {"t"};
  set("p1", "1");
  set("p2", "2");
  set("t1", "3", {.tags = tags});
  set("x", "4", {.ttl = 10ms});
  ASSERT_TRUE(store.del_prefix("p"));
  ASSERT_TRUE(store.del_tag("t"));
  set("p1", "new");
  EXPECT_EQ(take(), (List{{"p1", "1", kCleared}}));
  EXPECT_EQ(after_maintenance(), (List{{"p2", "2", kCleared}, {"t1", "3", kCleared}}));
  ASSERT_TRUE(store.clear());
  clock.advance(10ms);  // over by its deadline, too, before it is swept
  EXPECT_EQ(after_maintenance(), (List{{"p1", "new", kCleared}, {"x", "4", kExpired}}));
}

TEST_F(RemovalTest, OfNamespacesNobodyIsTold) {
  const Namespace ns = *store.ns("n");
  ASSERT_TRUE(ns.set("k", "v"));
  ASSERT_TRUE(*ns.del("k"));
  ASSERT_TRUE(ns.set("k", "v", SetOptions{.ttl = 1ms}));
  clock.advance(1ms);
  EXPECT_EQ(after_maintenance(), List{});
}

// A full store: each that went is told once, and those that were told are exactly those that aren't there.
TEST_F(RemovalTest, WhatMakesRoomIsEvictedOnce) {
  constexpr unsigned kCount = 30'000;
  for (unsigned i = 0; i != kCount; ++i) set(numbered("k", i), pattern(1'000, i));
  std::map<std::string, unsigned> times;
  for (const Removed& r : take()) {
    ++times[r.key];
    ASSERT_EQ(r.cause, kEvicted);
    ASSERT_EQ(r.value, pattern(1'000, static_cast<unsigned>(std::stoul(r.key.substr(1))))) << r.key;
  }
  EXPECT_GT(times.size(), kCount / 4);
  EXPECT_EQ(times.size(), store.stats().evicted);
  for (unsigned i = 0; i != kCount; ++i) {
    const auto at = times.find(numbered("k", i));
    ASSERT_EQ(at == times.end(), *store.exists(numbered("k", i))) << i;
    ASSERT_TRUE(at == times.end() || at->second == 1) << i;
  }
}

// Everybody puts, deletes, and lets expire the same few keys while others clear and tick: each put was either replaced by
// exactly one that says so (return_previous), or is told exactly once.
TEST_F(RemovalTest, ManyThreadsAndEachRemovalOnce) {
  constexpr unsigned kThreads = 4, kKeys = 6;
  const unsigned rounds = quick_or_long(3'000u, 100'000u);
  std::array<std::map<std::string, unsigned>, kThreads> replaced, put;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t != kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (unsigned i = 0; i != rounds; ++i) {
        const std::string key = numbered("k", (i * 7 + t) % kKeys);
        const std::string value = std::to_string(t) + "." + std::to_string(i);
        switch (i % 8) {
          case 0: (void)store.del(key); break;
          case 1: clock.advance(1ms); break;
          case 2:
            if (i % 128 == 2) (void)store.del_prefix(key);
            break;
          case 3: (void)store.tick(0us); break;
          default: {
            Value before;
            SetOptions how;
            how.return_previous = &before;
            if (i % 3 == 0) how.ttl = 2ms;
            ASSERT_TRUE(store.set(key, value, how));
            ++put[t][value];
            if (!before.empty()) ++replaced[t][std::string(before.view())];
          }
        }
      }
    });
  }
  for (auto& t : threads) t.join();
  for (unsigned k = 0; k != kKeys; ++k) (void)store.del(numbered("k", k));
  std::map<std::string, unsigned> ends;
  unsigned causes[4] = {};
  for (const Removed& r : after_maintenance()) {
    ++ends[r.value];
    ++causes[static_cast<unsigned>(r.cause)];
  }
  for (const auto& of_thread : replaced) {
    for (const auto& [value, times] : of_thread) ends[value] += times;
  }
  std::size_t puts = 0;
  for (const auto& of_thread : put) {
    puts += of_thread.size();
    for (const auto& [value, times] : of_thread) ASSERT_EQ(ends[value], 1u) << value;
  }
  EXPECT_EQ(ends.size(), puts);
  EXPECT_EQ(causes[static_cast<unsigned>(kEvicted)], 0u);
  for (const RemovalCause cause : {kDeleted, kExpired, kCleared}) EXPECT_GT(causes[static_cast<unsigned>(cause)], 0u);
}

}  // namespace
}  // namespace tern::test
