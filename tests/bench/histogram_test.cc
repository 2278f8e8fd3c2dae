#include "bench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "bench/workload.h"

namespace tern::bench {
namespace {

TEST(Histogram, PercentilesAreThoseOfASortedListToWithinOnePerCent) {
  auto h = std::make_unique<Histogram>();
  std::vector<std::uint64_t> values;
  Random random(1);
  for (int i = 0; i < 200'000; ++i) {
    // From nanoseconds to seconds, evenly over the magnitudes.
    const std::uint64_t v = (random.next() | 1) >> (34 + random.below(30));
    values.push_back(v);
    h->record(v);
  }
  std::sort(values.begin(), values.end());
  for (const double share : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999}) {
    const auto rank =
        static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
    const double exact = static_cast<double>(values[rank - 1]);
    const double got = static_cast<double>(h->percentile(share));
    EXPECT_GE(got, exact) << share;
    EXPECT_LE(got, exact * 1.01 + 1) << share;
  }
  EXPECT_EQ(h->percentile(1), values.back());
  EXPECT_EQ(h->percentile(0), h->percentile(1.0 / 200'000));
  EXPECT_EQ(h->count(), values.size());
}

TEST(Histogram, SmallValuesAreExact) {
  auto h = std::make_unique<Histogram>();
  for (std::uint64_t v = 0; v < Histogram::kSteps; ++v) h->record(v);
  for (std::uint64_t v = 0; v < Histogram::kSteps; ++v) {
    EXPECT_EQ(h->percentile(static_cast<double>(v + 1) / static_cast<double>(Histogram::kSteps)),
              v);
  }
}

TEST(Histogram, EveryBucketBeginsWhereTheOneBeforeEnds) {
  for (std::size_t i = 0; i + 1 < Histogram::kBuckets; ++i) {
    ASSERT_EQ(Histogram::highest_of(i) + 1, Histogram::lowest_of(i + 1)) << i;
    ASSERT_EQ(Histogram::index_of(Histogram::lowest_of(i)), i);
    ASSERT_EQ(Histogram::index_of(Histogram::highest_of(i)), i);
  }
}

TEST(Histogram, AnEmptyOneAnswersZeroAndOnesPastTheEndAreKeptAtTheEnd) {
  auto h = std::make_unique<Histogram>();
  EXPECT_EQ(h->percentile(0.5), 0u);
  EXPECT_EQ(h->mean(), 0);
  h->record(~std::uint64_t{0});
  EXPECT_EQ(h->max(), Histogram::kValueMax);
  EXPECT_EQ(h->percentile(0.5), Histogram::kValueMax);
}

TEST(Histogram, SumsOfTwoAreTheSameAsOneOfBoth) {
  auto a = std::make_unique<Histogram>(), b = std::make_unique<Histogram>(),
       both = std::make_unique<Histogram>();
  Random random(2);
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t v = random.below(1'000'000);
    (i % 3 == 0 ? a : b)->record(v);
    both->record(v);
  }
  a->add(*b);
  EXPECT_EQ(a->count(), both->count());
  EXPECT_EQ(a->max(), both->max());
  EXPECT_EQ(a->percentile(0.77), both->percentile(0.77));
  EXPECT_DOUBLE_EQ(a->mean(), both->mean());
  EXPECT_NEAR(a->mean(), 500'000, 10'000);
  EXPECT_NEAR(a->deviation(), 288'675, 5'000);  // of a uniform distribution: width / sqrt(12)
}

TEST(Histogram, CountsUpToAValue) {
  auto h = std::make_unique<Histogram>();
  for (std::uint64_t v = 0; v < 100; ++v) h->record(v);
  EXPECT_EQ(h->count_up_to(0), 1u);
  EXPECT_EQ(h->count_up_to(49), 50u);
  EXPECT_EQ(h->count_up_to(1'000'000), 100u);
}

}  // namespace
}  // namespace tern::bench
