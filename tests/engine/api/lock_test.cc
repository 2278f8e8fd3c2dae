// Locks: one owner, as long as its lease lives; tokens that only grow; writes that depend on one.
#include <tern/store.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

using namespace std::literals;

const Error kBusy{Status::kTimedOut, Field::kLock};
const Error kLost{Status::kMismatch, Field::kToken};
const Error kFenced{Status::kMismatch, Field::kFence};
const Error kOver{Status::kNotFound, Field::kLease};

SetOptions fenced(const Fence& fence) {
  SetOptions o;
  o.if_fence = fence;
  return o;
}

using LockTest = StoreTest;

TEST_F(LockTest, OneOwnerAtATime) {
  auto lock = store.lock("a", {.owner = "me"});
  ASSERT_TRUE(lock) << testing::PrintToString(lock.error());
  EXPECT_EQ(lock->name(), "a");
  EXPECT_NE(lock->token(), 0u);
  EXPECT_TRUE(*lock->is_held());
  EXPECT_EQ(store.try_lock("a").error(), kBusy);
  EXPECT_EQ(store.lock("a").error(), kBusy);
  EXPECT_TRUE(store.try_lock("b"));
  const auto info = store.lock_info("a");
  EXPECT_EQ(info->owner.view(), "me");
  EXPECT_EQ(info->token, lock->token());
  EXPECT_EQ(info->lease, lock->lease());
  EXPECT_EQ(info->remaining, 30s);
  EXPECT_TRUE(lock->unlock());
  EXPECT_EQ(lock->unlock().error(), kLost);
  EXPECT_EQ(lock->token(), 0u);
  EXPECT_TRUE(store.lock_info("a").missing());
  {
    const auto again = store.lock("a");
    EXPECT_TRUE(again);
  }  // its destructor unlocks
  EXPECT_TRUE(store.try_lock("a"));
  // Nothing is left, and nothing has to be looked for.
  EXPECT_EQ(store.stats().leases, 0u);
  EXPECT_EQ(store.stats().entries, 0u);
  EXPECT_EQ(store.stats().owed.lease_ends, 0u);
}

// A lock's own lease has no other members, so that unlocking leaves nothing to look for; but its id is no secret.
TEST_F(LockTest, WhatIsAttachedToItsOwnLeaseGoesWithIt) {
  auto lock = store.lock("a");
  ASSERT_TRUE(lock);
  EXPECT_TRUE(store.set("member", "v", {.lease = lock->lease()}));
  const auto other = store.try_lock("b", {.lease = lock->lease()});
  EXPECT_TRUE(other);
  EXPECT_TRUE(lock->unlock());
  EXPECT_TRUE(store.get("member").missing());
  EXPECT_TRUE(store.lock_info("b").missing());
  EXPECT_NE(store.stats().owed.lease_ends, 0u);
  for (int i = 0; i != 1'000 && store.stats().owed.lease_ends != 0; ++i) ASSERT_TRUE(store.tick(1ms));
  EXPECT_EQ(store.stats().entries, 0u);
}

// Nor does it end another lock's lease under which it was taken.
TEST_F(LockTest, OneUnderAnothersOwnLeaseLeavesItThat) {
  auto lock = store.lock("a", {.ttl = 10s});
  ASSERT_TRUE(lock);
  for (int i = 0; i != 3; ++i) {
    auto other = store.lock("b", {.lease = lock->lease()});
    ASSERT_TRUE(other);
    EXPECT_EQ(store.lock_info("b")->lease, lock->lease());
    if (i == 0) {
      EXPECT_TRUE(other->unlock());
    } else if (i == 1) {
      EXPECT_TRUE(store.unlock("b", other->token()));
      EXPECT_EQ(other->unlock().error(), kLost);
    }
  }  // or its destructor
  EXPECT_TRUE(store.lock_info("b").missing());
  EXPECT_TRUE(*lock->is_held());
  EXPECT_EQ(*store.lease_of(lock->lease()).keep_alive(), 10s);
  EXPECT_TRUE(store.set("k", "v", fenced(lock->fence())));
  const LeaseId own = lock->lease();
  EXPECT_TRUE(lock->unlock());
  EXPECT_TRUE(store.lease_of(own).remaining().missing());
  EXPECT_EQ(store.stats().leases, 0u);
  EXPECT_TRUE(whole(store));
}

TEST_F(LockTest, TokensGrowAndOldOnesAreRefused) {
  std::uint64_t last = 0;
  for (int i = 0; i != 100; ++i) {
    auto lock = store.lock("a", {.ttl = 1s});
    ASSERT_TRUE(lock);
    ASSERT_GT(lock->token(), last);
    if (last != 0) {
      ASSERT_EQ(store.unlock("a", last).error(), kLost);
    }
    last = lock->token();
    if (i % 3 == 0) {
      ASSERT_TRUE(store.unlock("a", last));
      lock->release();
    } else if (i % 3 == 1) {
      clock.advance(1s);
    }
  }
  EXPECT_EQ(store.unlock("a", 0).error(), kLost);
  EXPECT_EQ(store.unlock("a", last).error(), kLost);
  EXPECT_EQ(store.unlock("never", 1).error(), kLost);
}

TEST_F(LockTest, ItIsLostAtItsLeasesInstantAndAnotherCanHaveIt) {
  auto first = store.lock("a", {.ttl = 1s});
  clock.advance(999ms);
  EXPECT_EQ(store.try_lock("a").error(), kBusy);
  EXPECT_EQ(*first->keep_alive(), 1s);
  clock.advance(999ms);
  EXPECT_TRUE(*first->is_held());
  clock.advance(1ms);
  EXPECT_FALSE(*first->is_held());
  EXPECT_TRUE(store.lock_info("a").missing());
  EXPECT_EQ(first->keep_alive().error(), kLost);
  auto second = store.lock("a", {.ttl = 1s});
  ASSERT_TRUE(second);
  EXPECT_GT(second->token(), first->token());
  EXPECT_FALSE(*first->is_held());
  EXPECT_EQ(first->unlock().error(), kLost);
  EXPECT_TRUE(*second->is_held());
  EXPECT_EQ(store.try_lock("a").error(), kBusy);
}

TEST_F(LockTest, ManyLocksOfOneLeaseGoTogether) {
  const Lease lease = *store.lease(10s);
  std::vector<Lock> locks;
  for (unsigned i = 0; i != 50; ++i) {
    auto lock = store.lock(numbered("l", i), {.lease = lease.id()});
    ASSERT_TRUE(lock);
    locks.push_back(std::move(*lock));
  }
  ASSERT_TRUE(locks[3].unlock());
  EXPECT_TRUE(lease.remaining().found());  // it isn't the lock's own
  EXPECT_EQ(*lease.keys([](std::string_view) {}), 0u) << "locks have no keys";
  ASSERT_TRUE(*lease.revoke());
  for (const Lock& lock : locks) EXPECT_FALSE(lock.token() != 0 && *lock.is_held());
  EXPECT_EQ(store.lock("new", {.lease = lease.id()}).error(), kOver);
  EXPECT_TRUE(store.try_lock("l7"));
}

TEST_F(LockTest, AFencedWriteNeedsTheLockAndItsToken) {
  auto first = store.lock("a", {.ttl = 1s});
  const std::uint64_t old = first->token();
  const auto version = store.set("k", "1", fenced(first->fence()));
  ASSERT_TRUE(version);
  EXPECT_EQ(store.get_entry("k")->version, *version);
  EXPECT_EQ(store.set("k", "x", fenced({"a", old + 1})).error(), kFenced);
  EXPECT_EQ(store.set("k", "x", fenced({"b", old})).error(), kFenced);
  clock.advance(1s);
  EXPECT_EQ(store.set("k", "x", fenced({"a", old})).error(), kFenced);  // lost, though nobody has it yet
  auto second = store.lock("a", {.ttl = 1s});
  EXPECT_EQ(store.set("k", "x", fenced({"a", old})).error(), kFenced);
  EXPECT_TRUE(store.set("k", "2", fenced(second->fence())));
  EXPECT_EQ(value_of(store, "k"), "2");
  // With other conditions.
  SetOptions o = fenced(second->fence());
  o.if_absent = true;
  EXPECT_EQ(store.set("k", "x", o).status(), Status::kExists);
  o.if_absent = false;
  o.if_version = *version;
  EXPECT_EQ(store.set("k", "x", o).error(), (Error{Status::kMismatch, Field::kNone}));
  o.if_version.reset();
  o.if_present = true;
  EXPECT_EQ(store.set("none", "x", o).status(), Status::kNotFound);
  o.if_present = false;
  o.ttl = 5s;
  EXPECT_TRUE(store.set("with ttl", "v", o));
  EXPECT_EQ(store.get_entry("with ttl")->ttl, 5s);
  EXPECT_EQ(*store.set_nx("k", "x", fenced(second->fence())), false);
  // Many keys.
  WriteBatch batch;
  batch.require_fence({"a", old});
  batch.set("k", "x");
  EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  EXPECT_EQ(batch.failed(), 0u);
  batch.clear();
  batch.require_fence(second->fence());
  batch.set("k", "3");
  batch.set("l", "3");
  EXPECT_TRUE(store.write(batch));
  EXPECT_EQ(value_of(store, "l"), "3");
}

TEST_F(LockTest, ArgumentsAreChecked) {
  EXPECT_EQ(store.lock("").error(), (Error{Status::kInvalidKey, Field::kLock}));
  EXPECT_EQ(store.lock(std::string(kLockNameBytesMax + 1, 'n')).error(), (Error{Status::kTooLarge, Field::kLock}));
  EXPECT_TRUE(store.lock(std::string(kLockNameBytesMax, 'n')));
  EXPECT_EQ(store.lock("a", {.ttl = 0ms}).error(), (Error{Status::kInvalidArgument, Field::kTtl}));
  EXPECT_EQ(store.lock("a", {.lease = 99}).error(), kOver);
  EXPECT_EQ(store.lock("a", {.owner = std::string(256, 'o')}).error(), (Error{Status::kTooLarge, Field::kOwner}));
  EXPECT_EQ(store.unlock("", 1).error(), (Error{Status::kInvalidKey, Field::kLock}));
  EXPECT_EQ(store.lock_info("").error(), (Error{Status::kInvalidKey, Field::kLock}));
  Value previous;
  SetOptions o = fenced({"a", 1});
  o.return_previous = &previous;
  EXPECT_EQ(store.set("k", "v", o).error(), (Error{Status::kInvalidArgument, Field::kReturnPrevious}));
  EXPECT_EQ(store.set("k", "v", fenced({"", 1})).error(), (Error{Status::kInvalidArgument, Field::kFence}));
  WriteBatch batch;
  batch.set("k", "v", fenced({"a", 1}));
  EXPECT_EQ(store.write(batch).error(), (Error{Status::kInvalidArgument, Field::kFence}));
  auto draft = store.allocate("k", 1);
  EXPECT_EQ(draft->publish(fenced({"a", 1})).error(), (Error{Status::kInvalidArgument, Field::kFence}));
  Lock none;
  EXPECT_EQ(none.name(), "");
  EXPECT_EQ(none.is_held().status(), Status::kClosed);
  EXPECT_EQ(none.keep_alive().status(), Status::kClosed);
  EXPECT_EQ(none.unlock().status(), Status::kClosed);
  auto lock = store.lock("a");
  store.close();
  EXPECT_EQ(lock->is_held().status(), Status::kClosed);
  EXPECT_EQ(store.lock("a").status(), Status::kClosed);
}

TEST_F(LockTest, AFullStoreKeepsThem) {
  Options o = small_options(&clock);
  o.memory_bytes = 4 * kMiB;
  const Store full = open_or_fail(o);
  std::vector<Lock> locks;
  for (unsigned i = 0; i != 200; ++i) {
    auto lock = full.lock(numbered("l", i), {.ttl = 1h});
    ASSERT_TRUE(lock);
    locks.push_back(std::move(*lock));
  }
  for (unsigned i = 0; i != 40'000; ++i) ASSERT_TRUE(full.set(numbered("fill", i), pattern(100)));
  EXPECT_GT(full.stats().evicted, 0u);
  for (Lock& lock : locks) {
    ASSERT_TRUE(*lock.is_held());
    ASSERT_EQ(full.try_lock(lock.name()).error(), kBusy);
    ASSERT_TRUE(lock.unlock());
  }
  EXPECT_EQ(full.stats().leases, 0u);
  EXPECT_TRUE(whole(full));
}

// What was given out before a restart is less than what comes after it, and a lock lives on with its lease.
TEST_F(LockTest, SnapshotsHaveThem) {
  const std::string path = testing::TempDir() + "tern_locks_" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) + ".snap";
  for (const char* more : {"", ".1", ".lock"}) std::filesystem::remove(path + more);
  std::uint64_t held = 0, freed = 0;
  LeaseId lease_id = 0;
  {
    const Lease lease = *store.lease(10s), short_one = *store.lease(1s);
    lease_id = lease.id();
    SetOptions o;
    o.lease = lease.id();
    const std::string_view tags[] = {"red"};
    o.tags = tags;
    ASSERT_TRUE(store.set("member", "v", o));
    o.lease = short_one.id();
    ASSERT_TRUE(store.set("gone", "v", o));
    auto lock = store.lock("held", {.ttl = 10s}), other = store.lock("freed", {.ttl = 10s});
    held = lock->token();
    freed = other->token();
    ASSERT_TRUE(other->unlock());
    ASSERT_TRUE(store.save(path));
    lock->release();
  }
  for (const bool copy : {true, false}) {
    const auto saved_at = milliseconds(0);
    (void)saved_at;
    Options options = small_options(&clock);
    SnapshotOptions how;
    how.copy = copy;
    const auto now = std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch());
    how.wall_now = now + 2s;
    const Result<Store> opened = Store::open(path, options, how);
    ASSERT_TRUE(opened) << testing::PrintToString(opened.error());
    const Store& again = *opened;
    EXPECT_EQ(value_of(again, "gone"), std::nullopt);
    EXPECT_EQ(value_of(again, "member"), "v");
    EXPECT_TRUE(again.lease_of(lease_id).keep_alive()) << copy;
    EXPECT_EQ(again.try_lock("held").error(), kBusy);
    EXPECT_EQ(again.lock_info("held")->token, held);
    EXPECT_EQ(again.unlock("held", held - 1).error(), kLost);
    auto next = again.lock("freed");
    ASSERT_TRUE(next);
    EXPECT_GT(next->token(), freed);
    EXPECT_TRUE(again.unlock("held", held));
    next = again.lock("held");
    ASSERT_TRUE(next);
    EXPECT_GT(next->token(), held);
    EXPECT_GT(again.lease(1s)->id(), lease_id);
    for (int n = 0; n != 100'000 && again.stats().owed.lease_ends != 0; ++n) ASSERT_TRUE(again.tick(milliseconds(1)));
    ASSERT_TRUE(*again.lease_of(lease_id).revoke());
    EXPECT_EQ(value_of(again, "member"), std::nullopt);
    EXPECT_TRUE(whole(again));
  }
  for (const char* more : {"", ".1", ".lock"}) std::filesystem::remove(path + more);
}

}  // namespace
}  // namespace tern::test
