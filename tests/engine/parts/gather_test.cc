// Changes that wait until their batch is whole, beside a model of plain lists.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/engine/parts/gather_sequence.h"

namespace tern::test {
namespace {

TEST(Gather, TellsWhatTheModelTells) {
  std::mt19937 random(1);
  GatherCounts counts;
  for (unsigned round = 0; round != 400; ++round) {
    std::vector<std::uint8_t> bytes(1 + random() % 600);
    for (auto& b : bytes) b = static_cast<std::uint8_t>(random());
    const std::string wrong = run_gather(bytes.data(), bytes.size(), &counts);
    ASSERT_EQ(wrong, "") << "round " << round;
  }
  EXPECT_GT(counts.told, 10'000u);
  EXPECT_GT(counts.whole_batches, 1'000u);
  EXPECT_GT(counts.given_up, 100u);
  EXPECT_GT(counts.gaps, 100u);
}

}  // namespace
}  // namespace tern::test
