// key_equal, copy_bytes and match_tags against their plain definitions. Builds without Highway.
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <thread>

#include "simd/key_equal.h"
#include "simd/tag_match.h"
#include "tests/simd/guarded_page.h"

namespace tern::simd {
namespace {

constexpr std::size_t kSizeMax = 300;

std::string random_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (auto& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

TEST(KeyEqual, SeesOneBitAnywhere) {
  const GuardedPage left, right;
  for (std::size_t size = 0; size <= kSizeMax; ++size) {
    const std::string key = random_bytes(size, size);
    for (const bool at_end : {false, true}) {
      char* const a = at_end ? left.put_at_end(key) : left.put_at_start(key);
      char* const b = at_end ? right.put_at_end(key) : right.put_at_start(key);
      ASSERT_TRUE(key_equal(a, b, size)) << size;
      for (std::size_t at = 0; at < size; ++at) {
        for (int bit = 0; bit < 8; bit += 7) {
          b[at] = static_cast<char>(b[at] ^ (1 << bit));
          ASSERT_FALSE(key_equal(a, b, size)) << size << " byte " << at;
          b[at] = static_cast<char>(b[at] ^ (1 << bit));
        }
      }
    }
  }
}

TEST(KeyEqual, IgnoresWhatLiesAround) {
  for (std::size_t size = 0; size <= kSizeMax; ++size) {
    const std::string key = random_bytes(size, size);
    const std::string a = "left" + key + "after";
    const std::string b = "LEFT" + key + "AFTER";
    ASSERT_TRUE(key_equal(a.data() + 4, b.data() + 4, size)) << size;
  }
}

TEST(KeyEqual, DifferencesThatCancelAreSeen) {
  for (std::size_t size = 2; size <= kSizeMax; ++size) {
    std::string a(size, 'a'), b(size, 'a');
    a[0] = 'b';
    b[size - 1] = 'b';
    ASSERT_FALSE(key_equal(a.data(), b.data(), size)) << size;
  }
}

TEST(CopyBytes, CopiesExactlyTheBytes) {
  for (std::size_t size = 0; size <= kSizeMax; ++size) {
    const std::string from = random_bytes(size, size);
    std::string to(size + 64, '#');
    copy_bytes(to.data() + 32, from.data(), size);
    ASSERT_EQ(to, std::string(32, '#') + from + std::string(32, '#')) << size;
  }
}

TEST(CopyBytes, TouchesNothingOutside) {
  const GuardedPage left, right;
  for (std::size_t size = 0; size <= kSizeMax; ++size) {
    const std::string bytes = random_bytes(size, size);
    char* const to = right.end() - size;
    copy_bytes(to, left.put_at_end(bytes), size);
    ASSERT_EQ(std::string(to, size), bytes);
    copy_bytes(right.begin(), left.put_at_start(bytes), size);
    ASSERT_EQ(std::string(right.begin(), size), bytes);
  }
}

struct alignas(64) Line {
  std::uint64_t words[8];
};

std::uint64_t word_of(std::uint16_t tag, std::uint64_t rest) {
  return std::uint64_t{tag} << kTagShift | (rest & ((std::uint64_t{1} << kTagShift) - 1));
}

TEST(MatchTags, EveryMaskOfEveryEdgeTag) {
  std::mt19937_64 random(1);
  for (const unsigned tag :
       {0U, 1U, 0x7FFFU, 0x8000U, 0x8001U, 0x1234U, 0x00FFU, 0xFF00U, 0xFFFEU, 0xFFFFU}) {
    for (unsigned mask = 0; mask < 256; ++mask) {
      Line line;
      for (unsigned index = 0; index < 8; ++index) {
        const unsigned other = (tag + 1 + static_cast<unsigned>(random()) % 0xFFFF) & 0xFFFF;
        const bool match = (mask >> index & 1) != 0;
        line.words[index] = word_of(static_cast<std::uint16_t>(match ? tag : other), random());
      }
      const auto wanted = static_cast<std::uint16_t>(tag);
      ASSERT_EQ(match_tags(&line, wanted), mask & 0x7F) << tag;
      ASSERT_EQ(match_tags_scalar(line.words, wanted), mask & 0x7F) << tag;
    }
  }
}

TEST(MatchTags, OneBitOfDifferenceIsNoMatch) {
  for (unsigned bit = 0; bit < 16; ++bit) {
    for (unsigned index = 0; index < kTagWords; ++index) {
      Line line{};
      for (auto& word : line.words) word = word_of(0xA5A5, ~std::uint64_t{0});
      line.words[index] ^= std::uint64_t{1} << (kTagShift + bit);
      ASSERT_EQ(match_tags(&line, 0xA5A5), 0x7FU & ~(1U << index));
    }
  }
}

TEST(MatchTags, AllTagsAgainstTheDefinition) {
  std::mt19937_64 random(2);
  for (unsigned tag = 0; tag <= 0xFFFF; ++tag) {
    Line line;
    for (auto& word : line.words) {
      word = random();
      if (random() % 4 == 0) word = word_of(static_cast<std::uint16_t>(tag), word);
    }
    const auto wanted = static_cast<std::uint16_t>(tag);
    ASSERT_EQ(match_tags(&line, wanted), match_tags_scalar(line.words, wanted));
  }
}

TEST(MatchTags, WordwiseLoadsEachSlotOnceAndNeverTheControlWord) {
  struct Counted {
    std::uint64_t load(std::memory_order order) const {
      EXPECT_EQ(order, std::memory_order_seq_cst);
      ++loads;
      return value;
    }
    std::uint64_t value = word_of(7, 1);
    mutable int loads = 0;
  };
  Counted words[8];
  words[2].value = word_of(8, 1);
  EXPECT_EQ(match_tags_wordwise(words, 7), 0x7BU);
  for (unsigned index = 0; index < 8; ++index) EXPECT_EQ(words[index].loads, index < 7 ? 1 : 0);
}

// A word that another thread flips between two values, both with a tag: each is seen whole, and
// tags that never were there are never seen.
TEST(MatchTags, WordsBeingStoredAreSeenWhole) {
  struct alignas(64) Shared {
    std::atomic<std::uint64_t> words[8] = {};
  };
  static_assert(sizeof(Shared) == 64);
  Shared line;
  const std::uint64_t low = word_of(0x00FF, 0), high = word_of(0xFF00, ~std::uint64_t{0});
  for (auto& word : line.words) word.store(low, std::memory_order_relaxed);
  std::atomic<bool> stop{false};
  std::jthread writer([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      for (auto& word : line.words) word.store(high, std::memory_order_seq_cst);
      for (auto& word : line.words) word.store(low, std::memory_order_seq_cst);
    }
  });
  // Until each word was seen with either tag, the writer surely running, and then some.
  unsigned seen_low = 0, seen_high = 0;
  for (int rounds = 0; rounds < 100000 || seen_low != 0x7F || seen_high != 0x7F; ++rounds) {
    ASSERT_EQ(match_tags(&line, 0x0000), 0U);
    ASSERT_EQ(match_tags(&line, 0xFFFF), 0U);
    seen_low |= match_tags(&line, 0x00FF);
    seen_high |= match_tags(&line, 0xFF00);
  }
  stop.store(true, std::memory_order_relaxed);
}

}  // namespace
}  // namespace tern::simd
