// Locks among threads: mutual exclusion as a resource sees it that checks fences; owners that die, are parked, or are revoked;
// waiters that come in turn. No wall clock decides: what is judged was counted.
#include <tern/lock.h>
#include <tern/namespace.h>
#include <tern/store.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

using namespace std::literals;

Options threaded_options(const Clock* clock) {
  Options o;
  o.memory_bytes = 16 * kMiB;
  o.clock = clock;
  return o;
}

// Refuses tokens below the greatest that it has seen, and notices two who are inside at once.
class Resource {
 public:
  void use(std::uint64_t token) {
    EXPECT_EQ(inside_.fetch_add(1), 0) << "two owners at once";
    EXPECT_GT(token, last_) << "a token came again, or an older one after it";
    last_ = token;  // plain: the lock alone orders it, as the thread sanitizer sees
    ++uses_;
    EXPECT_EQ(inside_.fetch_sub(1), 1);
  }
  std::uint64_t uses() const { return uses_; }

 private:
  std::atomic<int> inside_{0};
  std::uint64_t last_ = 0;
  std::uint64_t uses_ = 0;
};

TEST(LockThreads, ExcludeEachOther) {
  const Store store = open_or_fail(threaded_options(nullptr));
  Resource resource;
  constexpr unsigned kThreads = 4;
  const unsigned rounds = quick_or_long(100u, 20'000u);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t != kThreads; ++t) {
    threads.emplace_back([&] {
      for (unsigned i = 0; i != rounds; ++i) {
        auto lock = store.lock("one", {.ttl = 1h, .wait = 1h});
        ASSERT_TRUE(lock) << testing::PrintToString(lock.error());
        resource.use(lock->token());
        if (i % 8 == 0) {
          ASSERT_TRUE(store.set("guarded", std::to_string(lock->token()), SetOptions{.if_fence = lock->fence()}));
        }
        ASSERT_TRUE(lock->unlock());
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(resource.uses(), kThreads * rounds);
  EXPECT_EQ(store.stats().leases, 0u);
  EXPECT_EQ(store.stats().watches, 0u);
  EXPECT_TRUE(whole(store));
}

// One name in three namespaces is three locks, each with an owner, tokens and fences of its own.
TEST(LockThreads, OfNamespacesExcludeTheirOwnAlone) {
  const Store store = open_or_fail(threaded_options(nullptr));
  const Namespace first = *store.ns("first"), second = *store.ns("second");
  constexpr unsigned kThreads = 4, kPlaces = 3;
  Resource resource[kPlaces];
  const unsigned rounds = quick_or_long(90u, 18'000u);
  const auto turn = [&](const auto& own, const auto& other, Resource& used, unsigned i) {
    auto lock = own.lock("one", {.ttl = 1h, .wait = 1h});
    ASSERT_TRUE(lock) << testing::PrintToString(lock.error());
    used.use(lock->token());
    // The token guards writes in whatever namespace.
    if (i % 8 == 0) {
      ASSERT_TRUE(other.set("guarded", std::to_string(lock->token()), SetOptions{.if_fence = lock->fence()}));
    }
    const Fence fence = lock->fence();
    ASSERT_TRUE(lock->unlock());
    if (i % 8 == 0) {
      const std::string value = std::to_string(fence.token);
      EXPECT_EQ(other.set("guarded", value, SetOptions{.if_fence = Fence{"one", fence.token, fence.ns}}).error(), (Error{Status::kMismatch, Field::kFence}));
    }
  };
  std::vector<std::thread> threads;
  for (unsigned t = 0; t != kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (unsigned i = 0; i != rounds; ++i) {
        switch ((t + i) % kPlaces) {
          case 0: turn(store, first, resource[0], i); break;
          case 1: turn(first, second, resource[1], i); break;
          default: turn(second, store, resource[2], i); break;
        }
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(resource[0].uses() + resource[1].uses() + resource[2].uses(), kThreads * rounds);
  EXPECT_EQ(store.stats().leases, 0u);
  EXPECT_EQ(store.stats().watches, 0u);
  const auto a = store.try_lock("one"), b = first.try_lock("one"), c = second.try_lock("one");
  EXPECT_TRUE(a && b && c) << "one keeps another from his own";
  EXPECT_TRUE(whole(store));
}

// An owner that never comes back: the next gets the lock when the lease is over, and what the first still writes is refused.
TEST(LockThreads, ADeadOwnersLockGoesToTheNext) {
  ManualClock clock;
  const Store store = open_or_fail(threaded_options(&clock));
  auto dead = store.lock("a", {.ttl = 10s});
  const std::uint64_t old = dead->token();
  std::atomic<bool> has{false};
  std::thread waiter([&] {
    auto lock = store.lock("a", {.ttl = 1h, .wait = 1h});
    ASSERT_TRUE(lock) << testing::PrintToString(lock.error());
    EXPECT_GT(lock->token(), old);
    ASSERT_TRUE(store.set("k", "new", SetOptions{.if_fence = lock->fence()}));
    has = true;
  });
  while (store.stats().watches == 0) std::this_thread::yield();
  EXPECT_FALSE(has);
  clock.advance(10s);
  // Its lease's end was 10 s away when the waiter went to sleep: what wakes it now is the bus, once the wheel has removed the lease.
  ASSERT_TRUE(store.cleanup_expired());
  waiter.join();
  EXPECT_EQ(store.set("k", "old", SetOptions{.if_fence = Fence{"a", old}}).error(), (Error{Status::kMismatch, Field::kFence}));
  EXPECT_EQ(value_of(store, "k"), "new");
  EXPECT_EQ(dead->unlock().status(), Status::kMismatch);
}

TEST(LockThreads, RevokingTheLeaseWakesWhoWaits) {
  const Store store = open_or_fail(threaded_options(nullptr));
  const Lease lease = *store.lease(1h);
  auto held = store.lock("a", {.lease = lease.id()});
  ASSERT_TRUE(held);
  std::thread waiter([&] { EXPECT_TRUE(store.lock("a", {.wait = 1h})); });
  while (store.stats().watches == 0) std::this_thread::yield();
  ASSERT_TRUE(*lease.revoke());
  waiter.join();
  EXPECT_FALSE(*held->is_held());
}

TEST(LockThreads, AClearWakesWhoWaits) {
  const Store store = open_or_fail(threaded_options(nullptr));
  const Namespace ns = *store.ns("room");
  const auto expect_woken = [&](const auto& h) {
    auto held = h.lock("a", {.ttl = 1h});
    ASSERT_TRUE(held);
    std::thread waiter([&] { EXPECT_TRUE(h.lock("a", {.ttl = 1h, .wait = 1h})); });
    while (store.stats().watches == 0) std::this_thread::yield();
    std::this_thread::sleep_for(10ms);  // it sleeps by now, as a rule
    ASSERT_TRUE(h.clear());
    waiter.join();
    EXPECT_FALSE(*held->is_held());
  };
  expect_woken(store);
  expect_woken(ns);
}

// A lock that is free is still not to be had as long as somebody waits for it: whoever comes later doesn't pass.
TEST(LockThreads, WhoComesLaterDoesNotPass) {
  const Store store = open_or_fail(threaded_options(nullptr));
  const unsigned rounds = quick_or_long(20u, 2'000u);
  for (unsigned r = 0; r != rounds; ++r) {
    auto held = store.lock("a", {.ttl = 1h});
    ASSERT_TRUE(held);
    std::atomic<bool> seen{false};
    std::thread waiter([&] {
      auto lock = store.lock("a", {.ttl = 1h, .wait = 1h});
      ASSERT_TRUE(lock);
      while (!seen) std::this_thread::yield();
    });
    while (store.stats().watches == 0) std::this_thread::yield();
    ASSERT_TRUE(held->unlock());
    EXPECT_EQ(store.try_lock("a").error(), (Error{Status::kTimedOut, Field::kLock}));
    seen = true;
    waiter.join();
  }
}

TEST(LockThreads, TimeoutsAndTheStoresEndAreTold) {
  const Store store = open_or_fail(threaded_options(nullptr));
  auto held = store.lock("a", {.ttl = 1h});
  EXPECT_EQ(store.lock("a", {.wait = 1ms}).error(), (Error{Status::kTimedOut, Field::kLock}));
  std::atomic<unsigned> told{0};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i != 3; ++i) {
    threads.emplace_back([&] {
      EXPECT_EQ(store.lock("a", {.wait = 1h}).status(), Status::kClosed);
      ++told;
    });
  }
  while (store.stats().watches == 0) std::this_thread::yield();
  Store(store).close();
  for (auto& t : threads) t.join();
  EXPECT_EQ(told, 3u);
}

// Leases end, by time and by hand, beside readers, writers and batches. Once a reader has missed a member of a lease, no
// member of it is seen again; and at one moment they are all there or none is.
TEST(LeaseThreads, AllGoAtOnceForEverybody) {
  ManualClock clock;
  const Store store = open_or_fail(threaded_options(&clock));
  const unsigned rounds = quick_or_long(60u, 5'000u);
  std::atomic<unsigned> round{0};
  std::atomic<unsigned> ready{0};
  constexpr unsigned kReaders = 3;
  std::vector<std::thread> threads;
  const std::string_view keys[] = {"a", "b", "c", "d"};
  for (unsigned t = 0; t != kReaders; ++t) {
    threads.emplace_back([&, t] {
      for (unsigned r = 1; r <= rounds; ++r) {
        while (round.load() < r) std::this_thread::yield();
        bool missed = false;
        for (unsigned i = 0; i != 1'000'000 && !missed; ++i) {
          if (t == 0) {
            Values values;
            ASSERT_TRUE(store.get_many_at_one_moment(keys, values));
            const bool first = values[0].found();
            for (unsigned k = 1; k != 4; ++k) ASSERT_EQ(values[k].found(), first) << "a part of a lease is gone";
            missed = !first;
          } else {
            missed = !store.exists(keys[i % 4]).value();
          }
        }
        ASSERT_TRUE(missed);
        for (const std::string_view key : keys) ASSERT_FALSE(*store.exists(key)) << "an entry outlives its lease";
        ++ready;
      }
    });
  }
  for (unsigned r = 1; r <= rounds; ++r) {
    const Lease lease = *store.lease(1s);
    SetOptions o;
    o.lease = lease.id();
    WriteBatch batch;
    for (const std::string_view key : keys) batch.set(key, "v", o);
    ASSERT_TRUE(store.write(batch));
    ready = 0;
    round = r;
    if (r % 4 == 0) {
      for (unsigned i = 0; i != 20; ++i) ASSERT_TRUE(store.append(keys[i % 4], "+"));
    }
    if (r % 2 == 0) {
      ASSERT_TRUE(*lease.revoke());
      EXPECT_EQ(store.set("a", "late", o).error(), (Error{Status::kNotFound, Field::kLease}));
    } else {
      clock.advance(1s);
      EXPECT_FALSE(lease.keep_alive());
    }
    while (ready != kReaders) std::this_thread::yield();
  }
  for (auto& t : threads) t.join();
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
