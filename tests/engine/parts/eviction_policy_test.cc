#include "engine/eviction_policy.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "alloc/sync.h"

namespace tern::detail {
namespace {

constexpr unsigned setting_of(EvictionSetting::Gate gate) {
  for (unsigned i = 0; i < kEvictionSettingCount; ++i) {
    if (kEvictionSettings[i].gate == gate) return i;
  }
  return kEvictionSettingCount;
}

struct PolicyOf {
  PolicyOf(std::uint64_t entries, EvictionSetting::Gate gate)
      : words(EvictionPolicy<StdSync>::words(entries)) {
    policy.open(words.data(), entries, setting_of(gate));
  }
  std::vector<std::atomic<std::uint64_t>> words;
  EvictionPolicy<StdSync> policy;
};

TEST(EvictionPolicy, LooseGateAdmitsWithOneHitOrAMemory) {
  PolicyOf p(100, EvictionSetting::kLoose);
  EXPECT_EQ(p.policy.missed(1), EvictionQueue::kSmall);
  EXPECT_EQ(p.policy.leave_small(1, 0, 9, 90).kind, EvictionVerdict::kEvict);
  EXPECT_EQ(p.policy.leave_small(1, 1, 9, 90).kind, EvictionVerdict::kPromote);
  p.policy.evicted(1);
  EXPECT_EQ(p.policy.missed(1), EvictionQueue::kMain);
}

TEST(EvictionPolicy, StrictGateAsksForADuelOnceMainIsFull) {
  PolicyOf p(100, EvictionSetting::kStrict);
  p.policy.evicted(1);
  EXPECT_EQ(p.policy.missed(1), EvictionQueue::kSmall);
  EXPECT_EQ(p.policy.leave_small(1, 0, 99, 0).kind, EvictionVerdict::kPromote);
  EXPECT_EQ(p.policy.leave_small(1, 3, 0, 99).kind, EvictionVerdict::kDuel);
}

TEST(EvictionPolicy, OpenGateHasNoSmallQueue) {
  PolicyOf p(100, EvictionSetting::kOpen);
  EXPECT_EQ(p.policy.missed(1), EvictionQueue::kMain);
  EXPECT_EQ(p.policy.next(0, 100), EvictionQueue::kMain);
}

TEST(EvictionPolicy, NextNeverNamesAnEmptyQueue) {
  for (const auto gate :
       {EvictionSetting::kLoose, EvictionSetting::kStrict, EvictionSetting::kOpen}) {
    PolicyOf p(100, gate);
    for (std::uint64_t n = 1; n < 300; ++n) {
      EXPECT_EQ(p.policy.next(n, 0), EvictionQueue::kSmall);
      EXPECT_EQ(p.policy.next(0, n), EvictionQueue::kMain);
    }
  }
}

TEST(EvictionPolicy, ClockGivesOneMoreRoundForEachHit) {
  PolicyOf p(100, EvictionSetting::kLoose);
  for (unsigned access = kAccessMax; access > 0; --access) {
    const EvictionVerdict verdict = p.policy.leave_main(1, access);
    EXPECT_EQ(verdict.kind, EvictionVerdict::kAgain);
    EXPECT_EQ(verdict.access, access - 1);
  }
  EXPECT_EQ(p.policy.leave_main(1, 0).kind, EvictionVerdict::kEvict);
}

TEST(EvictionPolicy, DuelIsWonByMoreThanOne) {
  PolicyOf p(100, EvictionSetting::kStrict);
  for (int i = 0; i < 3; ++i) p.policy.missed(1);
  for (int i = 0; i < 2; ++i) p.policy.missed(2);
  EXPECT_FALSE(p.policy.wins(1, 0, 2));
  EXPECT_TRUE(p.policy.wins(1, 1, 2));
  EXPECT_FALSE(p.policy.wins(2, 0, 2));
}

TEST(EvictionPolicy, FitIgnoresSmallChangesAndKeepsToItsMemory) {
  PolicyOf p(1'000, EvictionSetting::kLoose);
  p.policy.evicted(1);
  p.policy.fit(900);
  EXPECT_EQ(p.policy.missed(1), EvictionQueue::kMain);
  for (const std::uint64_t entries : {0u, 1u, 300u, 100'000u}) {
    p.policy.fit(entries);
    for (std::uint64_t k = 0; k < 5'000; ++k) {
      p.policy.missed(k * 0x9E37'79B9'7F4A'7C15u);
      p.policy.evicted(
          k * 0x9E37'79B9'7F4A'7C15u);  // a write past the memory is the sanitizer's to find
    }
  }
}

}  // namespace
}  // namespace tern::detail
