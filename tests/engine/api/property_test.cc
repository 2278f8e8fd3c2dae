// Random sequences of all operations against a model; a failure is shrunk and prints its seed and
// its bytes.
#include <gtest/gtest.h>
#include <tern/store.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "tests/engine/api/bounds_sequence.h"
#include "tests/engine/api/operation_sequence.h"
#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

// rapidcheck's own sizes (100 at most) are too small to reach growth, reuse and expiry together.
RC_GTEST_PROP(OperationSequenceTest, AShortSequenceAnswersAsTheModel, ()) {
  // Shrinking a long sequence can take hours: what passes for a success after a while ends it.
  static std::optional<std::chrono::steady_clock::time_point> failed_at;
  const auto bytes = *rc::gen::resize(2'000, rc::gen::arbitrary<std::vector<std::uint8_t>>());
  if (failed_at && std::chrono::steady_clock::now() - *failed_at > 20s) return;
  const SequenceResult r = run_operations(bytes);
  if (!r.difference.empty()) {
    if (!failed_at) failed_at = std::chrono::steady_clock::now();
    RC_FAIL(r.difference);
  }
  RC_CLASSIFY(r.operations > 200, "more than 200 operations");
}

std::vector<std::uint8_t> random_bytes(std::uint64_t seed, std::size_t count, std::uint8_t keys,
                                       std::uint8_t flags) {
  std::mt19937_64 random(seed);
  std::vector<std::uint8_t> bytes(count);
  for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(random());
  bytes[0] = keys;
  bytes[3] = flags;
  return bytes;
}

TEST(LongSequenceTest, SequencesOnFewAndManyKeysAnswerAsTheModel) {
  std::size_t operations = 0;
  const std::uint64_t first = long_run() ? std::random_device()() : 1;
  for (std::uint64_t seed = first; seed < first + quick_or_long(24u, 2'000u); ++seed) {
    const auto bytes = random_bytes(seed, 60'000, static_cast<std::uint8_t>(seed % 4),
                                    static_cast<std::uint8_t>(seed / 4));
    const SequenceResult r = run_operations(bytes);
    ASSERT_EQ(r.difference, "") << "seed " << seed;
    operations += r.operations;
  }
  std::printf("%zu operations\n", operations);
  EXPECT_GT(operations, 20'000u);
}

TEST(BoundsSequenceTest, FullStoresAnswerAndTellAsTheModel) {
  std::uint64_t told[4] = {};
  const std::uint64_t first = long_run() ? std::random_device()() : 1;
  for (std::uint64_t seed = first; seed < first + quick_or_long(16u, 2'000u); ++seed) {
    auto bytes = random_bytes(seed, 12'000, static_cast<std::uint8_t>(seed * 37), static_cast<std::uint8_t>(seed));
    // Half of them fill their store again and again: as often as not an operation is a set_many of large values.
    for (std::size_t i = 4; seed % 2 == 0 && i + 3 < bytes.size(); i += 12) {
      bytes[i] = 13;
      bytes[i + 1] = 63;
      bytes[i + 2] |= 128;
    }
    const BoundsResult r = run_bounds(bytes);
    ASSERT_EQ(r.difference, "") << "seed " << seed;
    for (int i = 0; i != 4; ++i) told[i] += r.told[i];
  }
  std::printf("told: %llu evicted, %llu expired, %llu deleted, %llu cleared\n", static_cast<unsigned long long>(told[0]),
              static_cast<unsigned long long>(told[1]), static_cast<unsigned long long>(told[2]),
              static_cast<unsigned long long>(told[3]));
  for (const std::uint64_t n : told) EXPECT_GT(n, 1'000u);
}

TEST(DeterminismTest, TheSameOperationsGiveTheSameAnswersVersionsAndPlaces) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const auto bytes = random_bytes(seed, 20'000, static_cast<std::uint8_t>(seed % 4), 0);
    const SequenceResult a = run_operations(bytes);
    const SequenceResult b = run_operations(bytes);
    ASSERT_EQ(a.difference, "");
    EXPECT_EQ(a.transcript, b.transcript) << "seed " << seed;
    EXPECT_EQ(a.operations, b.operations);
  }
}

TEST(DeterminismTest, EveryKeyLiesInTheSamePlaceOnEveryRun) {
  struct Place {
    std::uint64_t version, stamp, bucket;
    unsigned shard, slot;
    bool operator==(const Place&) const = default;
  };
  std::vector<Place> runs[2];
  for (std::vector<Place>& places : runs) {
    ManualClock clock;
    const Store store = open_or_fail(small_options(&clock));
    std::mt19937_64 random(7);
    for (unsigned i = 0; i < 40'000; ++i) {
      const std::string key = numbered("k", random() % 20'000);
      switch (random() % 4) {
        case 0:
          (void)store.del(key);
          break;
        case 1:
          (void)store.set(key, "with a lifetime", {.ttl = milliseconds(1 + random() % 50)});
          break;
        default:
          (void)store.set(key, pattern(random() % 100));
          break;
      }
      if (i % 100 == 0) clock.advance(1ms);
    }
    for (unsigned i = 0; i < 20'000; ++i) {
      const Lookup<Inspection> r = store.inspect(numbered("k", i));
      if (r) places.push_back({r->version, r->stamp, r->bucket, r->shard, r->slot});
    }
    EXPECT_TRUE(whole(store));
  }
  EXPECT_GT(runs[0].size(), 5'000u);
  EXPECT_TRUE(runs[0] == runs[1]);
}

TEST(DeterminismTest, AnotherSeedOfTheHashGivesTheSameAnswers) {
  // The transcript differs (places do), the model's verdict doesn't.
  for (std::uint8_t seed = 1; seed <= 5; ++seed) {
    auto bytes = random_bytes(99, 10'000, 2, 0);
    bytes[1] = seed;
    ASSERT_EQ(run_operations(bytes).difference, "") << unsigned{seed};
  }
}

}  // namespace
}  // namespace tern::test
