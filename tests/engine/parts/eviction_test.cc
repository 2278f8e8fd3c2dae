// Random sequences on a full store and on the model of its eviction (eviction_sequence.h), and the planted bugs that
// they must find.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "tests/engine/parts/eviction_sequence.h"

namespace tern::test {
namespace {

using detail::Mutant;

RC_GTEST_PROP(EvictionModel, AShortSequenceEvictsAsTheModel, ()) {
  const auto bytes = *rc::gen::resize(600, rc::gen::arbitrary<std::vector<std::uint8_t>>());
  const std::string difference = EvictionSequence<PlantedSync>().run(bytes);
  if (!difference.empty()) RC_FAIL(difference);
}

std::vector<std::uint8_t> random_bytes(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  std::vector<std::uint8_t> bytes(count);
  for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(random());
  // Half of the sequences on fewer keys than others, that come back.
  if (seed % 2 == 0) {
    for (std::size_t i = 3; i < count; i += 2) bytes[i] %= 24;
  }
  return bytes;
}

TEST(EvictionModel, LongSequencesEvictAsTheModel) {
  std::uint64_t evictions = 0;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    EvictionSequence<PlantedSync> sequence;
    ASSERT_EQ(sequence.run(random_bytes(seed, 4'000)), "") << "seed " << seed;
    evictions += sequence.evictions();
  }
  std::printf("%llu evictions\n", static_cast<unsigned long long>(evictions));
  EXPECT_GT(evictions, 50'000u);
}

void expect_found(Mutant m, const char* name) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    PlantedSync::mutant = m;
    const std::string difference = EvictionSequence<PlantedSync>().run(random_bytes(seed, 4'000));
    PlantedSync::mutant = Mutant::kNone;
    if (difference.empty()) continue;
    std::printf("%s: found in sequence %llu: %s\n", name, static_cast<unsigned long long>(seed), difference.c_str());
    return;
  }
  ADD_FAILURE() << name << ": a planted bug was not found";
}

TEST(EvictionModelMutants, AreFound) {
  expect_found(Mutant::kEvictKept, "evict kept");
  expect_found(Mutant::kEvictHeld, "evict held");
  expect_found(Mutant::kEvictOtherIncarnation, "evict another incarnation");
  expect_found(Mutant::kEvictExpiredInTurn, "evict expired in turn");
  expect_found(Mutant::kEvictAsideUncounted, "evict, aside uncounted");
  expect_found(Mutant::kEvictMainNeverFull, "evict, main never full");
  expect_found(Mutant::kAccessNotInherited, "access not inherited");
  expect_found(Mutant::kEntryPushedTwice, "entry pushed twice");
  expect_found(Mutant::kRemovalToldTwice, "removal told twice");
  expect_found(Mutant::kRemovalUntold, "removal untold");
}

}  // namespace
}  // namespace tern::test
