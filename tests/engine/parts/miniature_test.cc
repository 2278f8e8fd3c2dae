#include "engine/miniature.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "engine/eviction_policy.h"

namespace tern::detail {
namespace {

std::uint64_t hash_of(std::uint64_t n) {
  n += 0x9E37'79B9'7F4A'7C15u;
  n = (n ^ n >> 30) * 0xBF58'476D'1CE4'E5B9u;
  n = (n ^ n >> 27) * 0x94D0'49BB'1331'11EBu;
  return n ^ n >> 31;
}

struct MiniatureOf {
  explicit MiniatureOf(std::uint64_t entries, unsigned setting = 0)
      : words(Miniature::words(entries) + 1) {
    words.back() = kFence;
    miniature.open(words.data(), entries, setting);
  }
  ~MiniatureOf() { EXPECT_EQ(words.back(), kFence); }
  static constexpr std::uint64_t kFence = 0x1234'5678'9ABC'DEF0u;
  std::vector<std::uint64_t> words;
  Miniature miniature;
};

TEST(Miniature, HasAnEighthOfTheEntriesWithinBounds) {
  EXPECT_EQ(Miniature::entries_for(0), 1u);
  EXPECT_EQ(Miniature::entries_for(50), 50u);
  EXPECT_EQ(Miniature::entries_for(128), 128u);
  EXPECT_EQ(Miniature::entries_for(1'000), 128u);
  EXPECT_EQ(Miniature::entries_for(2'000), 250u);
  EXPECT_EQ(Miniature::entries_for(10'000'000), 512u);
}

TEST(Miniature, ChoosesAStrictGateForALoop) {
  MiniatureOf m(200, 0);
  for (std::uint64_t i = 0; i < 40'000; ++i) m.miniature.access(hash_of(i % 1'000));
  EXPECT_EQ(kEvictionSettings[m.miniature.setting()].gate, EvictionSetting::kStrict);
  EXPECT_EQ(m.miniature.miss_ratio(0), std::uint64_t{1} << 16);  // loose keeps nothing of a loop
  EXPECT_LT(m.miniature.miss_ratio(m.miniature.setting()), 55'000u);
}

// Favourites that change all the time: what a duel with the past can't follow.
TEST(Miniature, LeavesTheStrictGatesForAWorkloadThatForgets) {
  MiniatureOf m(200, 2);
  std::uint64_t random = 1;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    random = hash_of(random);
    m.miniature.access(hash_of(i / 20 + random % 180));
  }
  EXPECT_NE(m.miniature.setting(), 2u);
  EXPECT_LT(m.miniature.miss_ratio(m.miniature.setting()), m.miniature.miss_ratio(2) / 2);
}

TEST(Miniature, StaysWithASettingThatIsAsGoodAsAny) {
  for (unsigned setting = 0; setting < kEvictionSettingCount; ++setting) {
    MiniatureOf m(200, setting);
    for (std::uint64_t i = 0; i < 20'000; ++i)
      EXPECT_EQ(m.miniature.access(hash_of(i % 150)), setting);
  }
}

// Every size up to the largest, all kinds of keys, and fits in between: nodes run out if one is
// lost, and the fence and the sanitizers see a write past the memory.
TEST(Miniature, LosesNoNode) {
  for (const std::uint64_t entries : {1u, 2u, 3u, 50u, 511u, 512u}) {
    MiniatureOf m(entries);
    std::uint64_t random = entries;
    for (std::uint64_t i = 0; i < 60'000; ++i) {
      random = hash_of(random);
      const std::uint64_t range = i % 7'000 < 3'000 ? entries : 4 * entries + 3;
      const unsigned setting = m.miniature.access(hash_of(random % 5 == 0 ? i : random % range));
      ASSERT_LT(setting, kEvictionSettingCount);
      if (i % 5'000 == 4'999) m.miniature.fit(1 + random % entries);
    }
  }
}

// Whether the miniatures take a key in at once, in steps while others come, or when the next one is asked for.
TEST(Miniature, StepsChangeNothing) {
  MiniatureOf at_once(200), some(200), next(200);
  std::uint64_t random = 7;
  bool owed = false;
  for (std::uint64_t i = 0; i < 60'000; ++i) {
    random = hash_of(random);
    const std::uint64_t key = hash_of(i % 9'000 < 3'000 ? i % 700 : random % 900);
    const unsigned setting = at_once.miniature.access(key);
    while (at_once.miniature.owes()) at_once.miniature.step();
    ASSERT_EQ(some.miniature.access(key), setting) << i;
    for (std::uint64_t n = random % 9; n != 0 && some.miniature.owes(); --n) some.miniature.step();
    ASSERT_EQ(next.miniature.access(key), setting) << i;
    owed = owed || next.miniature.owes();
  }
  EXPECT_TRUE(owed);
  for (unsigned s = 0; s < kEvictionSettingCount; ++s) {
    EXPECT_EQ(some.miniature.miss_ratio(s), at_once.miniature.miss_ratio(s));
    EXPECT_EQ(next.miniature.miss_ratio(s), at_once.miniature.miss_ratio(s));
  }
}

TEST(EvictionPolicy, RunsTheSettingThatTheMiniatureFinds) {
  constexpr std::uint64_t kEntries = 200;
  std::vector<std::atomic<std::uint64_t>> words(EvictionPolicy<StdSync>::words(kEntries));
  EvictionPolicy<StdSync> policy;
  policy.open(words.data(), kEntries);
  for (std::uint64_t i = 0; i < 40'000; ++i) {
    const std::uint64_t hash = hash_of(i % 1'000);
    if (policy.sampled(hash)) policy.offer(hash);
  }
  EXPECT_EQ(kEvictionSettings[policy.setting_number()].gate, EvictionSetting::kStrict);
}

// For the thread sanitizer: every call of the policy from several threads, `fit` among them.
// Without the turn the miniatures' queues would lose nodes, and an index beyond their memory ends
// the test.
TEST(EvictionPolicy, ServesManyThreadsAtOnce) {
  constexpr std::uint64_t kEntries = 300, kCalls = 50'000;
  std::vector<std::atomic<std::uint64_t>> words(EvictionPolicy<StdSync>::words(kEntries) + 1);
  words.back() = MiniatureOf::kFence;
  EvictionPolicy<StdSync> policy;
  policy.open(words.data(), kEntries);
  std::atomic<std::uint64_t> verdicts{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::uint64_t random = t, seen = 0;
      for (std::uint64_t i = 0; i < kCalls; ++i) {
        random = hash_of(random);
        const std::uint64_t hash = hash_of(random % 1'000), other = hash_of(random % 997);
        seen += policy.missed(hash) == EvictionQueue::kMain;
        seen += policy.next(random % 100, random % 300) == EvictionQueue::kMain;
        seen += policy.leave_small(hash, random & 3, 30, 270).kind == EvictionVerdict::kEvict;
        seen += policy.leave_main(hash, random & 3).kind == EvictionVerdict::kEvict;
        seen += policy.wins(hash, random & 3, other);
        if (policy.sampled(other)) policy.offer(other);
        policy.evicted(hash);
        if (i % 1'000 == 999) policy.fit(16 + random % kEntries);
      }
      verdicts += seen;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_GT(verdicts, 0u);
  EXPECT_LT(policy.setting_number(), kEvictionSettingCount);
  EXPECT_EQ(words.back(), MiniatureOf::kFence);
}

TEST(EvictionPolicy, SamplesAsManyKeysAsTheMiniatureNeeds) {
  for (const std::uint64_t entries : {16u, 100u, 1'000u, 100'000u}) {
    std::vector<std::atomic<std::uint64_t>> words(EvictionPolicy<StdSync>::words(entries));
    EvictionPolicy<StdSync> policy;
    policy.open(words.data(), entries);
    std::uint64_t sampled = 0;
    constexpr std::uint64_t kKeys = 1'000'000;
    for (std::uint64_t k = 0; k < kKeys; ++k) sampled += policy.sampled(hash_of(k));
    const double expected =
        static_cast<double>(kKeys * Miniature::entries_for(entries)) / static_cast<double>(entries);
    EXPECT_NEAR(static_cast<double>(sampled), expected, expected / 20 + 1) << entries;
  }
}

}  // namespace
}  // namespace tern::detail
