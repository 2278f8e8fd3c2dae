// HeldValue: the store's own bytes, for as long as the caller wants.
#include <tern/store.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class HoldTest : public StoreTest {};

TEST_F(HoldTest, AHeldValueIsTheStoresOwnBytes) {
  ASSERT_TRUE(store.set("k", pattern(1'000)));
  const Lookup<HeldValue> a = store.hold("k");
  const Lookup<HeldValue> b = store.hold("k");
  ASSERT_TRUE(a);
  ASSERT_TRUE(b);
  EXPECT_EQ(a->view(), pattern(1'000));
  EXPECT_EQ(a->data(), b->data()) << "no copy was made";
  EXPECT_FALSE(a->copied());
  EXPECT_EQ(a->version(), store.get_entry("k")->version);
}

TEST_F(HoldTest, OutlivesReplacementRemovalAndReuse) {
  const std::string value = pattern(1'000);
  ASSERT_TRUE(store.set("k", value));
  const Lookup<HeldValue> held = store.hold("k");
  ASSERT_TRUE(held);
  ASSERT_TRUE(store.set("k", "replaced"));
  ASSERT_TRUE(store.del("k"));
  for (unsigned i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(store.set(numbered("k", i % 100), pattern(1'000, i + 1)));
  }
  EXPECT_EQ(held->view(), value);
}

TEST_F(HoldTest, OutlivesExpiry) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 10ms}));
  const Lookup<HeldValue> held = store.hold("k");
  clock.advance(10ms);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
  ASSERT_TRUE(store.set("k", "w"));
  EXPECT_EQ(held->view(), "v");
}

TEST_F(HoldTest, OutlivesCloseAndTheLastHandle) {
  const std::string value = pattern(100'000);
  HeldValue held;
  {
    Store own = open_or_fail(small_options());
    ASSERT_TRUE(own.set("k", value));
    Lookup<HeldValue> r = own.hold("k");
    ASSERT_TRUE(r);
    held = std::move(*r);
    own.close();
    EXPECT_EQ(held.view(), value);
  }
  EXPECT_EQ(held.view(), value);
  EXPECT_FALSE(held.copied());
}

TEST_F(HoldTest, AVeryLargeValueIsHeldWithoutACopy) {
  const std::string value = pattern(2'000'000);
  ASSERT_TRUE(store.set("k", value));
  const Lookup<HeldValue> held = store.hold("k");
  ASSERT_TRUE(held);
  ASSERT_TRUE(store.set("k", pattern(2'000'000, 9)));
  ASSERT_TRUE(store.del("k"));
  for (unsigned i = 0; i < 20; ++i) {
    ASSERT_TRUE(store.set("k", pattern(2'000'000, i + 1)));
    ASSERT_TRUE(store.tick(10ms));
  }
  EXPECT_EQ(held->view(), value);
}

TEST_F(HoldTest, EmptyAndReleasedValuesAreEmptyViews) {
  HeldValue none;
  EXPECT_EQ(none.size(), 0u);
  none.release();
  ASSERT_TRUE(store.set("k", ""));
  Lookup<HeldValue> held = store.hold("k");
  ASSERT_TRUE(held);
  EXPECT_EQ(held->view(), "");
  held->release();
  held->release();
  EXPECT_EQ(held->size(), 0u);
}

TEST_F(HoldTest, MovesLeaveNothingBehind) {
  ASSERT_TRUE(store.set("a", "first"));
  ASSERT_TRUE(store.set("b", "second"));
  Lookup<HeldValue> r = store.hold("a");
  HeldValue held(std::move(*r));
  EXPECT_EQ(held.view(), "first");
  EXPECT_EQ(r->size(), 0u);
  Lookup<HeldValue> other = store.hold("b");
  held = std::move(*other);
  EXPECT_EQ(held.view(), "second");
  HeldValue& itself = held;
  held = std::move(itself);
  EXPECT_EQ(held.view(), "second");
  held.release();
  EXPECT_EQ(store.stats().held_values, 0u);
}

TEST_F(HoldTest, StatsAndHoldersCountWhatIsHeld) {
  EXPECT_EQ(store.stats().held_values, 0u);
  EXPECT_EQ(store.stats().held_bytes, 0u);
  ASSERT_TRUE(store.set("k", pattern(5'000)));
  Lookup<HeldValue> a = store.hold("k");
  Lookup<HeldValue> b = store.hold("k");
  EXPECT_EQ(store.stats().held_values, 2u);
  EXPECT_GE(store.stats().held_bytes, 5'000u);
  EXPECT_EQ(store.inspect("k")->holds, 2u);
  std::uint64_t bytes = 0;
  store.holders([&](const Holder& holder) {
    if (holder.kind == Holder::Kind::kHeldValues) bytes += holder.bytes;
  });
  EXPECT_GE(bytes, 5'000u);
  a->release();
  EXPECT_EQ(store.stats().held_values, 1u);
  b->release();
  EXPECT_EQ(store.stats().held_values, 0u);
  EXPECT_EQ(store.stats().held_bytes, 0u);
  EXPECT_EQ(store.inspect("k")->holds, 0u);
  bytes = 0;
  store.holders([&](const Holder& holder) {
    if (holder.kind == Holder::Kind::kHeldValues) bytes += holder.bytes;
  });
  EXPECT_EQ(bytes, 0u);
}

TEST_F(HoldTest, PastTheBoundOnHeldBytesItIsACopy) {
  Options options = small_options(&clock);
  options.held_bytes_max = 20'000;
  const Store bounded = open_or_fail(options);
  std::vector<HeldValue> held;
  unsigned copies = 0;
  for (unsigned i = 0; i < 50; ++i) {
    const std::string key = numbered("k", i);
    ASSERT_TRUE(bounded.set(key, pattern(1'000, i)));
    Lookup<HeldValue> r = bounded.hold(key);
    ASSERT_TRUE(r);
    copies += r->copied();
    held.push_back(std::move(*r));
    ASSERT_LE(bounded.stats().held_bytes, options.held_bytes_max);
  }
  EXPECT_GE(copies, 30u);
  EXPECT_LE(copies, 40u) << "about 18 of them fit";
  for (unsigned i = 0; i < 50; ++i) {
    ASSERT_TRUE(bounded.del(numbered("k", i)));
    ASSERT_EQ(held[i].view(), pattern(1'000, i));
  }
  held.clear();
  EXPECT_EQ(bounded.stats().held_bytes, 0u);
  ASSERT_TRUE(bounded.set("k", pattern(1'000)));
  EXPECT_FALSE(bounded.hold("k")->copied()) << "the bound is free again";
  EXPECT_TRUE(whole(bounded));
}

TEST_F(HoldTest, AValueLargerThanTheBoundIsACopy) {
  Options options = small_options(&clock);
  options.held_bytes_max = 4'096;
  const Store bounded = open_or_fail(options);
  ASSERT_TRUE(bounded.set("k", pattern(300'000)));
  const Lookup<HeldValue> held = bounded.hold("k");
  ASSERT_TRUE(held);
  EXPECT_TRUE(held->copied());
  EXPECT_EQ(held->view(), pattern(300'000));
  EXPECT_EQ(held->version(), bounded.get_entry("k")->version);
}

TEST_F(HoldTest, OneKeyMayBeHeldMoreOftenThanARecordCanCount) {
  Options options = small_options(&clock);
  options.held_bytes_max = 8 * kMiB;
  const Store own = open_or_fail(options);
  ASSERT_TRUE(own.set("k", pattern(100)));
  std::vector<HeldValue> held;
  for (unsigned i = 0; i < 10'000; ++i) {
    Lookup<HeldValue> r = own.hold("k");
    ASSERT_TRUE(r);
    held.push_back(std::move(*r));
  }
  ASSERT_TRUE(own.set("k", "replaced"));
  for (const HeldValue& h : held) ASSERT_EQ(h.view(), pattern(100));
  held.clear();
  EXPECT_EQ(own.stats().held_values, 0u);
  EXPECT_EQ(own.stats().held_bytes, 0u);
  EXPECT_TRUE(whole(own));
}

TEST_F(HoldTest, AnotherThreadMayReleaseEvenAfterItsOwnerHasGone) {
  ASSERT_TRUE(store.set("k", pattern(2'000)));
  HeldValue held;
  std::jthread([&] { held = std::move(*store.hold("k")); }).join();
  ASSERT_TRUE(store.del("k"));
  EXPECT_EQ(held.view(), pattern(2'000));
  std::jthread([mine = std::move(held)]() mutable {
    EXPECT_EQ(mine.view(), pattern(2'000));
    mine.release();
  }).join();
  EXPECT_EQ(store.stats().held_values, 0u);
}

TEST_F(HoldTest, HeldBytesComeBackToTheBudgetWhenReleased) {
  // Hold and remove more than the budget, a part at a time: each part's memory must be reusable
  // afterwards.
  for (unsigned round = 0; round < 40; ++round) {
    std::vector<HeldValue> held;
    for (unsigned i = 0; i < 100; ++i) {
      const Result<std::uint64_t> w = store.set("k", pattern(10'000, i));
      ASSERT_TRUE(w) << status_name(w.status()) << " in round " << round;
      held.push_back(std::move(*store.hold("k")));
    }
    for (unsigned i = 0; i < 100; ++i) ASSERT_EQ(held[i].view(), pattern(10'000, i));
  }
}

TEST_F(HoldTest, HoldingBlocksNoWriterOfTheSameKey) {
  ASSERT_TRUE(store.set("k", "0"));
  std::vector<HeldValue> held;
  for (unsigned i = 1; i <= 500; ++i) {
    held.push_back(std::move(*store.hold("k")));
    ASSERT_TRUE(store.set("k", numbered("", i)));
  }
  for (unsigned i = 0; i < 500; ++i) ASSERT_EQ(held[i].view(), numbered("", i));
  // Released oldest first, newest first and from the middle.
  for (unsigned i = 0; i < 500; i += 3) held[i].release();
  for (unsigned i = 500; i-- > 0;) held[i].release();
  EXPECT_EQ(store.stats().held_values, 0u);
}

}  // namespace
}  // namespace tern::test
