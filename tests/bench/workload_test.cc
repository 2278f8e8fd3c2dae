#include "bench/workload.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <unordered_set>

namespace tern::bench {
namespace {

TEST(Zipf, FrequenciesAreThoseOfTheDistribution) {
  constexpr std::uint64_t kItems = 10'000;
  constexpr int kDraws = 2'000'000;
  const Zipf zipf(kItems, kZipfTheta);
  Random random(3);
  std::vector<int> seen(kItems);
  for (int i = 0; i < kDraws; ++i) {
    const std::uint64_t rank = zipf.rank(random.unit());
    ASSERT_LT(rank, kItems);
    ++seen[rank];
  }
  // The first two ranks are drawn exactly, the others by an approximation of the inverse that YCSB
  // uses as well.
  for (const std::uint64_t rank : {0u, 1u}) {
    const double expected = zipf.probability(rank) * kDraws;
    EXPECT_NEAR(seen[rank], expected, 6 * std::sqrt(expected)) << rank;
  }
  for (const std::uint64_t from : {10u, 100u, 1000u}) {
    double expected = 0;
    int got = 0;
    for (std::uint64_t rank = from; rank < from * 2; ++rank) {
      expected += zipf.probability(rank) * kDraws;
      got += seen[rank];
    }
    EXPECT_NEAR(got / expected, 1, 0.05) << from;
  }
}

TEST(Zipf, ProbabilitiesSumToOne) {
  const Zipf zipf(1000, kZipfTheta);
  double sum = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) sum += zipf.probability(i);
  EXPECT_NEAR(sum, 1, 1e-9);
}

TEST(Zipf, OfOneAndOfTwoItemsStaysInRange) {
  const Zipf one(1, kZipfTheta), two(2, kZipfTheta);
  for (double u = 0; u < 1; u += 0.001) {
    EXPECT_EQ(one.rank(u), 0u);
    EXPECT_LT(two.rank(u), 2u);
  }
}

TEST(Random, IsUniformBelowABound) {
  Random random(4);
  std::vector<int> seen(10);
  for (int i = 0; i < 100'000; ++i) ++seen[random.below(10)];
  for (const int n : seen) EXPECT_NEAR(n, 10'000, 600);
}

TEST(KeyMaker, KeysAreDistinctOfTheRightSizesAndZeroPadded) {
  const KeyMaker maker(Sizes(16, 24), Sizes(64, 64));
  std::unordered_set<std::string> keys;
  std::set<std::size_t> sizes;
  std::string slot(maker.key_slot(), 'x');
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    for (const std::uint64_t index : {i, KeyMaker::kMissing + i}) {
      slot.assign(maker.key_slot(), 'x');
      const std::uint32_t size = maker.key(index, slot.data());
      ASSERT_TRUE(size >= 16 && size <= 24);
      ASSERT_EQ(slot.find_first_not_of('\0', size), std::string::npos);
      ASSERT_EQ(slot.substr(0, size).find('\0'), std::string::npos);
      ASSERT_TRUE(keys.insert(slot.substr(0, size)).second) << index;
      sizes.insert(size);
    }
  }
  EXPECT_EQ(sizes.size(), 9u);
}

TEST(KeyMaker, TheShortestKeysAreDistinctToo) {
  const KeyMaker maker(Sizes(8, 8), Sizes(8, 8));
  std::unordered_set<std::string> keys;
  std::string slot(maker.key_slot(), 0);
  for (std::uint64_t i = 0; i < 300'000; ++i) {
    ASSERT_EQ(maker.key(i * 37, slot.data()), 8u);
    ASSERT_TRUE(keys.insert(slot.substr(0, 8)).second) << i;
  }
}

TEST(Sizes, ParsesRangesAndWeights) {
  const auto one = Sizes::parse("64");
  ASSERT_TRUE(one);
  EXPECT_TRUE(one->fixed());
  EXPECT_EQ(one->of(12345), 64u);
  const auto mixed = Sizes::parse("16-24:0.9,100-200:0.1");
  ASSERT_TRUE(mixed);
  EXPECT_EQ(mixed->min(), 16u);
  EXPECT_EQ(mixed->max(), 200u);
  EXPECT_NEAR(mixed->mean(), 0.9 * 20 + 0.1 * 150, 1e-9);
  EXPECT_EQ(mixed->text(), "16-24:0.9,100-200:0.1");
  Random random(5);
  int large = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::uint32_t size = mixed->of(random.next());
    ASSERT_TRUE((size >= 16 && size <= 24) || (size >= 100 && size <= 200));
    large += size >= 100;
  }
  EXPECT_NEAR(large, 10'000, 600);
}

TEST(Sizes, RefusesWhatIsNoSize) {
  for (const char* const text : {"", "x", "16-", "24-16", "16:", "16:0", "16:-1", "16,,17",
                                 "16:nan", "-5", "16 ", "99999999999"}) {
    EXPECT_FALSE(Sizes::parse(text)) << text;
  }
}

TEST(Workloads, AreFoundByNameAndSharesFitIntoAHundred) {
  for (const Workload& w : named_workloads()) {
    EXPECT_TRUE(find_workload(w.name)) << w.name;
    EXPECT_LE(w.set + w.insert + w.read_modify_write + w.del, 100);
  }
  EXPECT_EQ(find_workload("ycsb-c")->name, "ycsb-c");
  EXPECT_FALSE(find_workload("ycsb-z"));
}

}  // namespace
}  // namespace tern::bench
