// The budget gives way when memory around the store is short, and comes back; memory and time are the
// test's.
#include <tern/store.h>

#include <atomic>
#include <string>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class ManualGauge final : public MemoryGauge {
 public:
  MemoryReading read() const noexcept override {
    ++reads_;
    return reading;
  }
  unsigned reads() const { return reads_; }
  MemoryReading reading{50 * kMiB, 100 * kMiB, 0};

 private:
  mutable std::atomic<unsigned> reads_{0};
};

class PressureTest : public testing::Test {
 protected:
  PressureTest() {
    options_ = small_options(&clock_);
    options_.memory_bytes = 32 * kMiB;
    options_.shrink_on_pressure = true;
    options_.shrink_floor_bytes = 8 * kMiB;
    options_.eviction = false;
    options_.memory_gauge = &gauge_;
  }
  // A second later; the budget.
  std::size_t next(const Store& store) {
    clock_.advance(1s);
    EXPECT_TRUE(store.tick(1ms));
    return store.stats().memory_bytes;
  }

  ManualClock clock_;
  ManualGauge gauge_;
  Options options_;
};

TEST_F(PressureTest, TheBudgetSinksToItsFloorAndComesBack) {
  const Store store = open_or_fail(options_);
  EXPECT_EQ(next(store), 32 * kMiB) << "half of the memory is left";
  gauge_.reading.used_bytes = 95 * kMiB;
  std::size_t before = 32 * kMiB;
  for (int i = 0; i < 60; ++i) {
    const std::size_t now = next(store);
    ASSERT_LE(now, before);
    ASSERT_GE(now, before - before / 16 - 65'536);
    before = now;
  }
  EXPECT_EQ(before, 8 * kMiB);
  EXPECT_LE(store.stats().memory_used_bytes, 8 * kMiB);
  gauge_.reading.used_bytes = 80 * kMiB;
  EXPECT_EQ(next(store), 8 * kMiB) << "neither short nor plentiful";
  gauge_.reading.used_bytes = 30 * kMiB;
  for (int i = 0; i < 20; ++i) (void)next(store);
  EXPECT_EQ(store.stats().memory_bytes, 32 * kMiB);
  EXPECT_TRUE(whole(store));
}

TEST_F(PressureTest, WaitingForMemoryIsPressureToo) {
  const Store store = open_or_fail(options_);
  gauge_.reading = {0, 0, 150};
  EXPECT_LT(next(store), 32 * kMiB);
  gauge_.reading.stalled_permille = 20;
  const std::size_t now = store.stats().memory_bytes;
  EXPECT_EQ(next(store), now);
  gauge_.reading.stalled_permille = 0;
  EXPECT_GT(next(store), now);
}

TEST_F(PressureTest, LooksOnceASecondAndInMaintenanceAlone) {
  const Store store = open_or_fail(options_);
  EXPECT_EQ(gauge_.reads(), 0u);
  ASSERT_TRUE(store.set("k", "v"));
  EXPECT_TRUE(store.get("k").found());
  EXPECT_EQ(gauge_.reads(), 0u);
  for (int i = 0; i < 50; ++i) (void)store.tick(0us);
  EXPECT_EQ(gauge_.reads(), 1u);
  clock_.advance(999ms);
  (void)store.tick(0us);
  EXPECT_EQ(gauge_.reads(), 1u);
  clock_.advance(1ms);
  (void)store.tick(0us);
  EXPECT_EQ(gauge_.reads(), 2u);
}

TEST_F(PressureTest, RecordsStayAndWhatLiesBetweenThemGoes) {
  const Store store = open_or_fail(options_);
  unsigned count = 0;
  while (store.set(numbered("k", count), pattern(64, count))) ++count;
  gauge_.reading.used_bytes = 99 * kMiB;
  EXPECT_EQ(next(store), 32 * kMiB) << "all of it is needed";
  for (unsigned i = 0; i < count; ++i) {
    if (i % 8 != 0) {
      ASSERT_TRUE(store.del(numbered("k", i)));
    }
  }
  for (int i = 0; i < 60; ++i) (void)next(store);
  for (int i = 0; i < 1'000 && store.tick(1ms)->shrink_bytes != 0; ++i) {
  }
  EXPECT_LE(store.stats().memory_bytes, 12 * kMiB);
  EXPECT_EQ(store.tick(0us)->shrink_bytes, 0u);
  for (unsigned i = 0; i < count; i += 8) {
    ASSERT_EQ(value_of(store, numbered("k", i)), pattern(64, i)) << i;
  }
  EXPECT_TRUE(whole(store));
}

TEST_F(PressureTest, AWishOfTheCallersIsWhatItComesBackTo) {
  const Store store = open_or_fail(options_);
  ASSERT_TRUE(store.resize(16 * kMiB));
  gauge_.reading.used_bytes = 10 * kMiB;
  for (int i = 0; i < 20; ++i) EXPECT_EQ(next(store), 16 * kMiB);
}

TEST_F(PressureTest, OptionsAreChecked) {
  const auto refused = [&](Field field) {
    const Result<Store> store = Store::open(options_);
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().field, field);
  };
  options_.shrink_floor_bytes = 33 * kMiB;
  refused(Field::kShrinkFloorBytes);
  options_.shrink_floor_bytes = kMiB;
  refused(Field::kShrinkFloorBytes);
  options_.shrink_floor_bytes = 0;
  EXPECT_TRUE(Store::open(options_));
  static char memory[8 * kMiB];
  options_.memory = memory;
  options_.memory_size = sizeof memory;
  refused(Field::kShrinkOnPressure);
}

TEST_F(PressureTest, TheContainersOwnFilesMayBeMissing) {
  options_.memory_gauge = nullptr;
  const Store store = open_or_fail(options_);
  EXPECT_GE(next(store), 8 * kMiB);
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
