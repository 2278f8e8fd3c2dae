// hash_batch on every target that this machine has, against hash_bytes.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "hwy/targets.h"
#include "simd/hash.h"
#include "tests/simd/guarded_page.h"

namespace tern::simd {
namespace {

constexpr std::uint64_t kSeeds[] = {0, 1, 0x0123456789ABCDEFU, ~std::uint64_t{0}};

class HashBatch : public testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

void expect_equal(const std::vector<std::string_view>& keys) {
  for (const std::uint64_t seed : kSeeds) {
    // One more at the end, to see that nothing is written there.
    std::vector<std::uint64_t> out(keys.size() + 1, 0xABABABABABABABABU);
    hash_batch(keys.data(), keys.size(), seed, out.data());
    for (std::size_t index = 0; index < keys.size(); ++index) {
      ASSERT_EQ(out[index], hash_bytes(keys[index].data(), keys[index].size(), seed))
          << "key " << index << " of " << keys.size() << ", size " << keys[index].size();
    }
    ASSERT_EQ(out[keys.size()], 0xABABABABABABABABU);
  }
}

std::string random_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (auto& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

TEST_P(HashBatch, EveryLengthAtEveryPlaceOfAVector) {
  const std::string bytes = random_bytes(400, 1);
  for (std::size_t size = 0; size <= 300; ++size) {
    std::vector<std::string_view> keys;
    for (std::size_t index = 0; index < 17; ++index) keys.emplace_back(bytes.data() + index, size);
    expect_equal(keys);
    for (std::size_t place = 0; place < 17; place += 3) {
      auto mixed = keys;
      for (std::size_t index = 0; index < mixed.size(); ++index) {
        if (index != place) mixed[index] = std::string_view(bytes.data() + index, 20);
      }
      expect_equal(mixed);
    }
  }
}

TEST_P(HashBatch, EveryCount) {
  const std::string bytes = random_bytes(400, 2);
  std::mt19937_64 random(3);
  for (std::size_t count = 0; count <= 70; ++count) {
    std::vector<std::string_view> lanes, any;
    for (std::size_t index = 0; index < count; ++index) {
      lanes.emplace_back(bytes.data() + random() % 300, 8 + random() % 25);
      any.emplace_back(bytes.data() + random() % 300, random() % 60);
    }
    expect_equal(lanes);
    expect_equal(any);
  }
}

TEST_P(HashBatch, LongKeys) {
  const std::string bytes = random_bytes(70000, 4);
  std::vector<std::string_view> keys;
  for (std::size_t size = 301; size <= 65535; size += 997)
    keys.emplace_back(bytes.data() + size % 64, size);
  keys.emplace_back(bytes.data(), 65535);
  expect_equal(keys);
}

TEST_P(HashBatch, ExtremeWords) {
  const std::string patterns[] = {std::string(32, '\0'), std::string(32, '\xFF'),
                                  std::string(32, '\x80'), std::string(32, '\x7F'),
                                  std::string(32, '\x01')};
  std::vector<std::string_view> keys;
  for (const auto& pattern : patterns) {
    for (std::size_t size = 8; size <= 32; ++size) keys.emplace_back(pattern.data(), size);
  }
  expect_equal(keys);
}

TEST_P(HashBatch, ReadsNothingOutsideTheKeys) {
  const GuardedPage page;
  const std::string bytes = random_bytes(300, 5);
  for (std::size_t size = 0; size <= 300; ++size) {
    const std::string_view key(bytes.data(), size);
    expect_equal(std::vector<std::string_view>(9, {page.put_at_end(key), size}));
    expect_equal(std::vector<std::string_view>(9, {page.put_at_start(key), size}));
  }
}

// The array of views itself may end at the end of memory too.
TEST_P(HashBatch, ReadsNothingOutsideTheArray) {
  const GuardedPage page;
  const std::string bytes = random_bytes(64, 6);
  for (std::size_t count = 0; count <= 40; ++count) {
    auto* const keys = reinterpret_cast<std::string_view*>(page.end()) - count;
    for (std::size_t index = 0; index < count; ++index)
      keys[index] = {bytes.data() + index % 16, 8 + index % 25};
    std::vector<std::uint64_t> out(count);
    hash_batch(keys, count, 7, out.data());
    for (std::size_t index = 0; index < count; ++index) {
      ASSERT_EQ(out[index], hash_bytes(keys[index].data(), keys[index].size(), 7));
    }
  }
}

std::vector<std::int64_t> targets_of_this_machine() {
  std::vector<std::int64_t> targets;
  hwy::SetSupportedTargetsForTest(0);
  const std::int64_t all = hwy::SupportedTargets() & HWY_TARGETS;
  for (int bit = 0; bit < 62; ++bit) {
    if ((all >> bit & 1) != 0) targets.push_back(std::int64_t{1} << bit);
  }
  return targets;
}

INSTANTIATE_TEST_SUITE_P(Targets, HashBatch, testing::ValuesIn(targets_of_this_machine()),
                         [](const auto& target) {
                           return std::string(hwy::TargetName(target.param));
                         });

}  // namespace
}  // namespace tern::simd
