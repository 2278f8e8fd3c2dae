// The parking tool with real threads: a parked thread stays where it is, the others go on, and
// release lets it end.
#include "tests/sync/parked.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <thread>

namespace tern::concurrency {
namespace {

template <class Sync>
struct Counter {
  typename Sync::template Atomic<std::uint64_t> value{0};
  void add() {
    Sync::point("counter.before_add");
    value.fetch_add(1);
    Sync::point("counter.after_add");
  }
};

TEST(Parked, StopsOneThreadAndNoOther) {
  Counter<ParkSync<>> counter;
  Parking parking;
  parking.arm(1, "counter.after_add", 2);
  std::thread stopped([&] {
    Parking::Role role(parking, 1);
    for (int i = 0; i < 3; ++i) counter.add();
  });
  ASSERT_TRUE(parking.wait(1));
  EXPECT_TRUE(parking.is_parked(1));
  EXPECT_EQ(counter.value.load(), 2u);
  std::thread others([&] {
    Parking::Role role(parking, 2);
    for (int i = 0; i < 1000; ++i) counter.add();
  });
  others.join();
  EXPECT_EQ(counter.value.load(), 1002u);
  EXPECT_TRUE(parking.is_parked(1));
  parking.release();
  stopped.join();
  EXPECT_EQ(counter.value.load(), 1003u);
}

TEST(Parked, AThreadThatNeverComesByIsNotParked) {
  Counter<ParkSync<>> counter;
  Parking parking;
  parking.arm(1, "no such point");
  std::thread thread([&] {
    Parking::Role role(parking, 1);
    counter.add();
  });
  EXPECT_FALSE(parking.wait(1));
  thread.join();
  const std::vector<std::string> seen = {"counter.after_add", "counter.before_add"};
  EXPECT_EQ(parking.seen(), seen);
}

TEST(Parked, AThreadWithoutARolePassesEveryPoint) {
  Counter<ParkSync<>> counter;
  Parking parking;
  parking.arm(1, "counter.before_add");
  counter.add();
  EXPECT_EQ(counter.value.load(), 1u);
  EXPECT_TRUE(parking.seen().empty());
}

// A lock is found out: the one that waits for a parked holder makes no progress.
TEST(Parked, ShowsThatASpinLockWaits) {
  std::atomic<bool> locked{false};
  std::atomic<std::uint64_t> attempts{0};
  std::atomic<bool> give_up{false};
  Parking parking;
  parking.arm(1, "lock.held");
  auto critical = [&] {
    while (locked.exchange(true)) {
      attempts.fetch_add(1);
      if (give_up.load()) return false;
      std::this_thread::yield();
    }
    ParkSync<>::point("lock.held");
    locked.store(false);
    return true;
  };
  std::thread holder([&] {
    Parking::Role role(parking, 1);
    critical();
  });
  ASSERT_TRUE(parking.wait(1));
  bool entered = true;
  std::thread waiter([&] { entered = critical(); });
  while (attempts.load() < 1000) std::this_thread::yield();
  give_up.store(true);
  waiter.join();
  EXPECT_FALSE(entered);
  parking.release();
  holder.join();
}

}  // namespace
}  // namespace tern::concurrency
