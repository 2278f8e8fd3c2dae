// The timing wheel alone: where tickets lie, when they come up, at every boundary of every level;
// jumps; against a map. (Interleavings: tests/engine/schedules/expiry_test.cc. Through the store:
// tests/engine/api/expiry_test.cc.)
#include "engine/wheel.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <thread>
#include <vector>

#include "tests/engine/parts/bare_core.h"
#include "tests/engine/parts/wheel_sequence.h"

namespace tern::test {
namespace {

using Sync = BareCore::Sync;
using Wheel = detail::Wheel<Sync>;
using Guard = detail::Guard<Sync>;

// Remembers what came up when.
struct Look {
  std::map<std::uint64_t, std::uint64_t> due;  // by ticket
  std::map<std::uint64_t, std::uint64_t> ended;
  std::uint64_t now = 0;
  unsigned looks = 0;

  std::uint64_t operator()(std::uint64_t ticket) {
    ++looks;
    if (due.at(ticket) > now) return due.at(ticket);
    EXPECT_EQ(ended.count(ticket), 0u) << "ticket " << ticket << " came up twice";
    ended[ticket] = now;
    return 0;
  }
  void soon(std::uint64_t) {}
  void sooner(std::uint64_t) {}
  void lost(std::uint64_t ticket) { ADD_FAILURE() << ticket; }
};

class WheelTest : public testing::Test {
 protected:
  void file(std::uint64_t ticket, std::uint64_t due) {
    look.due[ticket] = due;
    const Guard guard(bare.space(), *bare.thread);
    ASSERT_TRUE(wheel.file(bare.space(), *bare.thread, ticket, due));
  }
  void advance(std::uint64_t now) {
    look.now = now;
    const Guard guard(bare.space(), *bare.thread);
    while (wheel.advance(bare.space(), *bare.thread, now, 64, look) != 0) {
    }
  }
  std::size_t memory() {
    return wheel.walk(bare.space(), [](std::uint64_t) {});
  }

  BareCore bare;
  Wheel wheel;
  Look look;
};

TEST_F(WheelTest, EachTimeHasItsPlace) {
  using Spot = Wheel::Spot;
  EXPECT_EQ(Wheel::spot_of(1, 0), (Spot{0, 1}));
  EXPECT_EQ(Wheel::spot_of(63, 0), (Spot{0, 63}));
  EXPECT_EQ(Wheel::spot_of(64, 0), (Spot{1, 1}));
  EXPECT_EQ(Wheel::spot_of(64, 63), (Spot{1, 1}));
  EXPECT_EQ(Wheel::spot_of(65, 64), (Spot{0, 1}));
  EXPECT_EQ(Wheel::spot_of(4095, 0), (Spot{1, 63}));
  EXPECT_EQ(Wheel::spot_of(4096, 0), (Spot{2, 1}));
  EXPECT_EQ(Wheel::spot_of(Wheel::kTimeMax, 0), (Spot{7, 1}));
  EXPECT_EQ(Wheel::spot_of(Wheel::kTimeMax + 1, Wheel::kTimeMax), (Spot{7, 2}));
}

TEST_F(WheelTest, NothingIsHeldBeforeTheFirstTicketAndLittleAfterTheLast) {
  EXPECT_EQ(memory(), 0u);
  file(1, 10);
  EXPECT_EQ(memory(), 512u + 64u);
  advance(10);
  EXPECT_EQ(look.ended.size(), 1u);
  EXPECT_EQ(memory(), 512u);  // the level's positions
  EXPECT_EQ(wheel.entries(), 0u);
}

// From each beginning, for each deadline at a boundary: not a millisecond early, not one late.
TEST_F(WheelTest, EveryBoundaryIsMetExactly) {
  std::uint64_t ticket = 0;
  for (const std::uint64_t begin :
       {0ull, 1ull, 62ull, 63ull, 64ull, 4095ull, 4096ull, 262'143ull, 1'764'000'000'000ull}) {
    for (unsigned k = 0; k != 42; ++k) {
      for (const int off : {-1, 0, 1}) {
        const std::uint64_t span = (std::uint64_t{1} << k) + static_cast<std::uint64_t>(off);
        if (span == 0) continue;
        wheel.~Wheel();  // its levels stay behind in the heap, which is big enough
        new (&wheel) Wheel;
        advance(begin);
        file(++ticket, begin + span);
        advance(begin + span - 1);
        ASSERT_EQ(look.ended.count(ticket), 0u) << begin << " + " << span;
        ASSERT_EQ(wheel.entries(), 1u);
        advance(begin + span);
        ASSERT_EQ(look.ended.count(ticket), 1u) << begin << " + " << span;
        ASSERT_EQ(wheel.entries(), 0u);
      }
    }
    bare.core = BareCore(std::size_t{4} << 20).core;
    bare.thread = &bare.new_thread();
  }
}

// The same when time comes in one jump, and when the jump goes far past.
TEST_F(WheelTest, AJumpOverEverythingLosesNothing) {
  std::uint64_t ticket = 0;
  for (unsigned k = 0; k != 43; ++k) {
    for (const int off : {-1, 0, 1})
      file(++ticket, (std::uint64_t{1} << k) + static_cast<std::uint64_t>(off));
  }
  look.looks = 0;
  advance(Wheel::kTimeMax);
  EXPECT_EQ(look.ended.size(), ticket);
  EXPECT_LE(look.looks, ticket * Wheel::kLevels)
      << "a jump costs its tickets, not its milliseconds";
}

TEST_F(WheelTest, AJumpAheadOfAllTicketsTakesNoStep) {
  file(1, 1'000'000'000'000);
  look.now = 999'999'999'999;
  const Guard guard(bare.space(), *bare.thread);
  std::uint64_t steps = 0;
  while (const unsigned n = wheel.advance(bare.space(), *bare.thread, look.now, 64, look))
    steps += n;
  EXPECT_LE(steps, 2u * Wheel::kLevels);
  EXPECT_EQ(look.ended.size(), 0u);
}

TEST_F(WheelTest, ThePastIsDueAtOnce) {
  advance(5'000);
  file(1, 10);
  file(2, 5'000);
  EXPECT_EQ(look.ended.size(), 0u);
  advance(5'001);
  EXPECT_EQ(look.ended.size(), 2u);
}

TEST_F(WheelTest, ATimeThatGoesBackwardsChangesNothing) {
  advance(5'000);
  file(1, 5'010);
  advance(100);
  EXPECT_EQ(wheel.time(), 5'000u);
  advance(5'010);
  EXPECT_EQ(look.ended.size(), 1u);
}

TEST_F(WheelTest, TheEndOfTimeIsATime) {
  advance(Wheel::kTimeMax - 1);
  file(1, Wheel::kTimeMax);
  advance(Wheel::kTimeMax);
  EXPECT_EQ(look.ended.size(), 1u);
  advance(~std::uint64_t{0});
  EXPECT_EQ(wheel.time(), Wheel::kTimeMax);
  const Guard guard(bare.space(), *bare.thread);
  look.due[2] = ~std::uint64_t{0};
  EXPECT_TRUE(wheel.file(bare.space(), *bare.thread, 2, ~std::uint64_t{0}));
}

TEST_F(WheelTest, StepsAreBounded) {
  for (std::uint64_t n = 1; n <= 1'000; ++n) file(n, 100);
  look.now = 100;
  const Guard guard(bare.space(), *bare.thread);
  look.looks = 0;
  EXPECT_EQ(wheel.advance(bare.space(), *bare.thread, 100, 64, look), 64u);
  EXPECT_EQ(look.looks, 64u);
  EXPECT_TRUE(wheel.is_due(100));
  unsigned steps = 64;
  while (const unsigned n = wheel.advance(bare.space(), *bare.thread, 100, 64, look)) steps += n;
  EXPECT_EQ(look.ended.size(), 1'000u);
  EXPECT_LE(steps, 2'100u);  // each is looked at twice: at 64, and at 100
}

TEST_F(WheelTest, AWheelOfVoidTicketsEmptiesByRotation) {
  struct Voids {
    std::uint64_t operator()(std::uint64_t ticket) const {
      return ticket % 10 == 0 ? 1'000'000 : 0;
    }
    void soon(std::uint64_t) const {}
    void sooner(std::uint64_t) const {}
    void lost(std::uint64_t) const {}
  };
  const Guard guard(bare.space(), *bare.thread);
  for (std::uint64_t n = 1; n <= 10'000; ++n) {
    // Spread over positions and levels; every tenth is valid.
    ASSERT_TRUE(
        wheel.file(bare.space(), *bare.thread, n, n % 10 == 0 ? 1'000'000 : 1 + n * n % 900'000));
  }
  for (int n = 0; n != 25'000; ++n) wheel.rotate(bare.space(), *bare.thread, Voids{});
  EXPECT_EQ(wheel.entries(), 1'000u);
}

TEST_F(WheelTest, ItAnswersAsAMapDoes) {
  std::mt19937_64 random(1);
  for (int run = 0; run != 3'000; ++run) {
    std::vector<std::uint8_t> bytes(random() % 200);
    for (auto& b : bytes) b = static_cast<std::uint8_t>(random());
    ASSERT_EQ(run_wheel_operations(bytes), "") << "run " << run;
  }
}

// Two threads file, two move the time: each ticket ends once, none before its time.
TEST(WheelThreads, LoseAndDoubleNothing) {
  constexpr std::uint64_t kEach = 30'000;
  BareCore bare(std::size_t{32} << 20);
  Wheel wheel;
  std::atomic<std::uint64_t> now{0};
  std::atomic<unsigned> filing{2};
  std::atomic<std::uint64_t> early{0};
  std::vector<std::atomic<unsigned>> ended(2 * kEach + 1);
  std::vector<std::uint64_t> due(2 * kEach + 1);
  struct Ends {
    std::vector<std::atomic<unsigned>>& ended;
    const std::vector<std::uint64_t>& due;
    std::uint64_t now;
    std::uint64_t operator()(std::uint64_t ticket) const {
      if (due[ticket] > now) return due[ticket];
      ++ended[ticket];
      return 0;
    }
    void soon(std::uint64_t) const {}
    void sooner(std::uint64_t) const {}
    void lost(std::uint64_t) const {}
  };
  std::mt19937_64 random(3);
  // Close to the present at each moment: what is filed while time goes by is what matters.
  for (std::uint64_t n = 1; n <= 2 * kEach; ++n)
    due[n] = (n - 1) % kEach / 4 + 1 + random() % (1u << random() % 14);
  std::vector<std::thread> threads;
  std::vector<detail::Thread<Sync>*> states;
  for (int i = 0; i != 4; ++i) states.push_back(&bare.new_thread());
  for (unsigned p = 0; p != 2; ++p) {
    threads.emplace_back([&, p] {
      for (std::uint64_t n = 1; n <= kEach; ++n) {
        const Guard guard(bare.space(), *states[p]);
        if (!wheel.file(bare.space(), *states[p], p * kEach + n, due[p * kEach + n])) ++early;
        if (p == 0 && n % 4 == 0)
          now.store(n % 4000 == 0 ? n / 4 + 900 : std::max(now.load(), n / 4));
      }
      --filing;
    });
  }
  for (unsigned c = 2; c != 4; ++c) {
    threads.emplace_back([&, c] {
      while (filing != 0) {
        const Guard guard(bare.space(), *states[c]);
        wheel.advance(bare.space(), *states[c], now, 16, Ends{ended, due, now});
      }
    });
  }
  for (auto& thread : threads) thread.join();
  {
    const Guard guard(bare.space(), *bare.thread);
    while (wheel.advance(bare.space(), *bare.thread, 100'000, 64, Ends{ended, due, 100'000}) != 0) {
    }
  }
  EXPECT_EQ(early, 0u);
  EXPECT_EQ(wheel.entries(), 0u);
  // One that its filer saw overtaken is filed twice; through the store the second is found void.
  unsigned twice = 0;
  for (std::uint64_t n = 1; n <= 2 * kEach; ++n) {
    ASSERT_GE(ended[n], 1u) << n;
    twice += ended[n] > 1;
  }
  EXPECT_LE(twice, kEach / 100);
}

}  // namespace
}  // namespace tern::test
