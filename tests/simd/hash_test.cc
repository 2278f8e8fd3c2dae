// hash_bytes against its portable definition and frozen values; no Highway in here, so that the
// file also builds and runs for aarch64 under an emulator.
#include "simd/hash.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/simd/guarded_page.h"

namespace tern::simd {
namespace {

constexpr std::uint64_t kSeed = 0x0123456789ABCDEFU;

std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t index = 0; index < size; ++index) {
    bytes[index] = static_cast<char>((index * 167 + 13) ^ (index >> 8));
  }
  return bytes;
}

// The definition once more, byte by byte and without a vector: what hash.h's top comment says.
std::uint64_t hash_by_the_book(const std::string& key, std::uint64_t seed) {
  using namespace hash_parts;
  const HashKeys keys = derive_keys(seed);
  const auto* p = reinterpret_cast<const unsigned char*>(key.data());
  const std::size_t n = key.size();
  const auto word = [p](std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t index = 8; index-- > 0;) value = value << 8 | p[at + index];
    return value;
  };
  if (n < 8) {
    const std::uint64_t w = tiny_word(p, n);
    return mix_words(w, w, w, w, n, keys);
  }
  if (n < 16) return mix_words(word(0), word(0), word(n - 8), word(n - 8), n, keys);
  if (n <= 32) return mix_words(word(0), word(8), word(n - 16), word(n - 8), n, keys);
  Chain s{keys.key[0], keys.key[1]};
  const Product start = multiply(keys.key[0] ^ kSeedXor1, keys.key[2] ^ kSeedFactor0);
  const Product own = multiply(keys.key[1] ^ kSeedXor0, keys.key[3] ^ kSeedFactor1);
  Chain t{start.low ^ keys.key[3], start.high ^ keys.key[2]};
  std::size_t at = 0;
  while (n - 32 > at && n - 32 - at > 32) {
    s = absorb(s, keys.key[2], keys.key[3], p + at);
    t = absorb(t, own.low ^ keys.key[1], own.high ^ keys.key[0], p + at + 32);
    at += 64;
  }
  if (at < n - 32) s = absorb(s, keys.key[2], keys.key[3], p + at);
  const HashKeys chained{{s.a, s.b, t.a, t.b}};
  return mix_words(word(n - 32), word(n - 24), word(n - 16), word(n - 8), n, chained);
}

TEST(HashBytes, EqualsTheDefinitionForEveryLength) {
  for (std::size_t size = 0; size <= 65535; size += size < 1100 ? 1 : 131) {
    const std::string key = pattern(size);
    ASSERT_EQ(hash_bytes(key.data(), size, kSeed), hash_by_the_book(key, kSeed)) << size;
    ASSERT_EQ(hash_bytes(key.data(), size, derive_keys(kSeed)), hash_by_the_book(key, kSeed));
  }
}

TEST(HashBytes, PartialProductsEqualTheWideProduct) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 10000; ++round) {
    const std::uint64_t a = random() >> (random() % 64);
    const std::uint64_t b = random() >> (random() % 64);
    const std::uint64_t half = 0xFFFFFFFFU;
    const std::uint64_t low = (a & half) * (b & half);
    const std::uint64_t middle = (a >> 32) * (b & half) + (low >> 32);
    const std::uint64_t middle2 = (a & half) * (b >> 32) + (middle & half);
    const hash_parts::Product product = hash_parts::multiply(a, b);
    ASSERT_EQ(product.low, (middle2 << 32) | (low & half));
    ASSERT_EQ(product.high, (a >> 32) * (b >> 32) + (middle >> 32) + (middle2 >> 32));
  }
}

TEST(HashBytes, FrozenValues) {
  struct Known {
    std::size_t size;
    std::uint64_t seed;
    std::uint64_t hash;
  };
  const Known known[] = {
      // clang-format off
      {0, 0x0U, 0x95CDEDCBC994D57EU},
      {1, 0x0U, 0x570E38FF6D8D9521U},
      {2, 0x0U, 0xB8E743C9BA410A41U},
      {3, 0x0U, 0xE2FF5783C753A885U},
      {4, 0x0U, 0x4529D8EE34EA0A16U},
      {5, 0x0U, 0xD9A4976FF6D9765BU},
      {7, 0x0U, 0x0DB794CDE7FCD388U},
      {8, 0x0U, 0x0BE221F85EE318A5U},
      {9, 0x0U, 0x99E8ED5106753BE1U},
      {12, 0x0U, 0xF5CCFB05EF092996U},
      {15, 0x0U, 0xFC4689CED13F3F48U},
      {16, 0x0U, 0xAC2DC98B95A4C237U},
      {17, 0x0U, 0x0DCBA6395BA9AC82U},
      {20, 0x0U, 0x1451FD3BA0E3B343U},
      {24, 0x0U, 0x61C8989A89D9B997U},
      {31, 0x0U, 0x5BFE5355F64DC0C1U},
      {32, 0x0U, 0x2DE516C574BDC124U},
      {33, 0x0U, 0x76DDCB461D329A8EU},
      {48, 0x0U, 0x97CE497AFD0113F8U},
      {63, 0x0U, 0x0492ADD7CD890A08U},
      {64, 0x0U, 0x7FE0EB3E5E433238U},
      {65, 0x0U, 0x9109BE0073871261U},
      {96, 0x0U, 0x7AF61FF787723A08U},
      {97, 0x0U, 0x22525F7721020C04U},
      {100, 0x0U, 0x6BA7372CC60B2227U},
      {128, 0x0U, 0x3928E5BF16E1D786U},
      {160, 0x0U, 0x3D773E238D9F0B5CU},
      {256, 0x0U, 0xF98917AFF976D055U},
      {1000, 0x0U, 0x6CE7F47345FE7E2EU},
      {4096, 0x0U, 0x0BC3A883D7236F1AU},
      {65535, 0x0U, 0x88C82F34DFB88994U},
      {0, 0x123456789ABCDEFU, 0xF03F5B7CEC5742B9U},
      {1, 0x123456789ABCDEFU, 0xE3B923DB2600D35BU},
      {2, 0x123456789ABCDEFU, 0x16DAD075CD15B7EEU},
      {3, 0x123456789ABCDEFU, 0x309E75328F316637U},
      {4, 0x123456789ABCDEFU, 0x7EE752A1944C83B9U},
      {5, 0x123456789ABCDEFU, 0x3D50F5C728CE000CU},
      {7, 0x123456789ABCDEFU, 0x7F36780ADF1A6E55U},
      {8, 0x123456789ABCDEFU, 0xDD8EE03CB24ADC7CU},
      {9, 0x123456789ABCDEFU, 0xB2592F101A696427U},
      {12, 0x123456789ABCDEFU, 0x75832E4B14E55BF5U},
      {15, 0x123456789ABCDEFU, 0xE15E131EF8DF7A5FU},
      {16, 0x123456789ABCDEFU, 0x9266A7DC9C7B28E7U},
      {17, 0x123456789ABCDEFU, 0x2711895392B4685AU},
      {20, 0x123456789ABCDEFU, 0x368304384CF307FFU},
      {24, 0x123456789ABCDEFU, 0x56E8F3E772AFE639U},
      {31, 0x123456789ABCDEFU, 0xCDD7B704DBF46F00U},
      {32, 0x123456789ABCDEFU, 0x8AAC90E28A193F45U},
      {33, 0x123456789ABCDEFU, 0xC80FE156E558B3C4U},
      {48, 0x123456789ABCDEFU, 0x8876D62C16024D28U},
      {63, 0x123456789ABCDEFU, 0x2637DE07F84CECC3U},
      {64, 0x123456789ABCDEFU, 0x6196A3227DC2A0C2U},
      {65, 0x123456789ABCDEFU, 0xD181F1A6BA788D08U},
      {96, 0x123456789ABCDEFU, 0xE8401689ACFA9273U},
      {97, 0x123456789ABCDEFU, 0x46917FC37463A6A4U},
      {100, 0x123456789ABCDEFU, 0xF4C481233103FDD2U},
      {128, 0x123456789ABCDEFU, 0xC394AAAB86746C85U},
      {160, 0x123456789ABCDEFU, 0x25D1E428A733D587U},
      {256, 0x123456789ABCDEFU, 0x705679FB8C8FBE89U},
      {1000, 0x123456789ABCDEFU, 0x36CEB22ADB1A27A3U},
      {4096, 0x123456789ABCDEFU, 0xB72CF8C19A50259CU},
      {65535, 0x123456789ABCDEFU, 0x103D8E5085EF28E2U},
      // clang-format on
  };
  for (const Known& answer : known) {
    const std::string key = pattern(answer.size);
    EXPECT_EQ(hash_bytes(key.data(), key.size(), answer.seed), answer.hash)
        << "{" << answer.size << ", 0x" << std::hex << answer.seed << "U, 0x"
        << hash_bytes(key.data(), key.size(), answer.seed) << "U},";
  }
}

// All lengths up to 65,535 and eight seeds in one number: a change of any of them shows.
TEST(HashBytes, FrozenSumOverAllLengths) {
  const std::string key = pattern(65535);
  std::uint64_t sum = 0;
  for (std::size_t size = 0; size <= 65535; size += size < 2048 ? 1 : 61) {
    sum = (sum << 7 | sum >> 57) ^ hash_bytes(key.data(), size, kSeed * (size % 8));
  }
  EXPECT_EQ(sum, 0xB3E1B4CA0D687769U) << std::hex << sum;
}

TEST(HashBytes, EmptyKeyNeedsNoMemoryAndDependsOnTheSeed) {
  EXPECT_EQ(hash_bytes(nullptr, 0, 1), hash_bytes("x", 0, 1));
  EXPECT_NE(hash_bytes(nullptr, 0, 1), hash_bytes(nullptr, 0, 2));
}

TEST(HashBytes, AnyAlignmentGivesTheSameValue) {
  const std::string key = pattern(300);
  for (std::size_t shift = 0; shift < 64; ++shift) {
    std::string moved(shift, '#');
    moved += key;
    for (std::size_t size = 0; size <= 300; ++size) {
      ASSERT_EQ(hash_bytes(moved.data() + shift, size, kSeed), hash_bytes(key.data(), size, kSeed));
    }
  }
}

TEST(HashBytes, ReadsNothingOutsideTheKey) {
  const GuardedPage page;
  for (std::size_t size = 0; size <= 4096; size += size < 300 ? 1 : 97) {
    const std::string key = pattern(size);
    const std::uint64_t expected = hash_bytes(key.data(), size, kSeed);
    ASSERT_EQ(hash_bytes(page.put_at_end(key), size, kSeed), expected) << size;
    ASSERT_EQ(hash_bytes(page.put_at_start(key), size, kSeed), expected) << size;
  }
}

TEST(HashBytes, EveryByteCounts) {
  for (std::size_t size = 1; size <= 400; ++size) {
    std::string key = pattern(size);
    const std::uint64_t before = hash_bytes(key.data(), size, kSeed);
    for (std::size_t at = 0; at < size; ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        key[at] = static_cast<char>(key[at] ^ (1 << bit));
        ASSERT_NE(hash_bytes(key.data(), size, kSeed), before) << size << " byte " << at;
        key[at] = static_cast<char>(key[at] ^ (1 << bit));
      }
    }
  }
}

TEST(HashBytes, ZeroesOfAllLengthsDiffer) {
  const std::string zeroes(65535, '\0');
  for (const std::uint64_t seed : {std::uint64_t{0}, ~std::uint64_t{0}, kSeed}) {
    std::set<std::uint64_t> seen;
    for (std::size_t size = 0; size <= 65535; size += size < 4096 ? 1 : 7) {
      ASSERT_TRUE(seen.insert(hash_bytes(zeroes.data(), size, seed)).second) << size;
    }
  }
}

// The same four words, the same chain: only the length tells these apart.
TEST(HashBytes, KeysOfEqualWordsAndDifferentLengthsDiffer) {
  const std::string x = "xxxxXXXX", y = "yyyyYYYY", z = "zzzzZZZZ";
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const std::string a = x + y + z, b = x + y + y + z;
    ASSERT_NE(hash_bytes(a.data(), a.size(), seed), hash_bytes(b.data(), b.size(), seed));
    std::set<std::uint64_t> seen;
    for (std::size_t size = 0; size <= 32; ++size) {
      const std::string same(size, 'q');
      seen.insert(hash_bytes(same.data(), size, seed));
    }
    ASSERT_EQ(seen.size(), 33U);
  }
}

// A key of 68 bytes has 32 in the first chain, 32 in the second and a tail of four more. Its words
// of one bit each, moved to any other place, give another hash.
TEST(HashBytes, BlocksCanNotChangePlaces) {
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, kSeed}) {
    std::set<std::uint64_t> seen;
    std::size_t keys = 0;
    for (std::size_t a = 0; a < 17; ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        for (std::size_t c = 0; c < b; ++c) {
          std::uint32_t blocks[17] = {};
          blocks[a] = blocks[b] = blocks[c] = 1;
          seen.insert(hash_bytes(blocks, sizeof(blocks), seed));
          ++keys;
        }
      }
    }
    EXPECT_EQ(seen.size(), keys);
  }
}

// Crafted with the seed known: w0 cancels k0, so that the first product is zero whatever w2 holds.
// Under that seed they must collide (else the test aims at nothing), under others not.
TEST(HashBytes, CollisionsCraftedForOneSeedAreGoneUnderAnother) {
  const HashKeys keys = derive_keys(kSeed);
  const std::uint64_t zero = hash_parts::add_halves(~keys.key[0], 0x0000000100000001U);
  ASSERT_EQ(hash_parts::add_halves(zero, keys.key[0]), 0U);
  std::vector<std::string> crafted;
  for (std::uint64_t index = 0; index < 1000; ++index) {
    const std::uint64_t words[4] = {zero, 1, index * 0x9E3779B97F4A7C15U, 2};
    crafted.emplace_back(reinterpret_cast<const char*>(words), sizeof(words));
  }
  const auto distinct = [&crafted](std::uint64_t seed) {
    std::set<std::uint64_t> seen;
    for (const auto& key : crafted) seen.insert(hash_bytes(key.data(), key.size(), seed));
    return seen.size();
  };
  EXPECT_EQ(distinct(kSeed), 1U);
  for (std::uint64_t seed = 0; seed < 64; ++seed) EXPECT_EQ(distinct(seed), crafted.size());
  for (int bit = 0; bit < 64; ++bit) {
    EXPECT_EQ(distinct(kSeed ^ std::uint64_t{1} << bit), crafted.size()) << bit;
  }
}

// Words equal to the public constants, their negatives and inverses: the blind spots of hashes that
// put a word against a constant instead of against a secret.
TEST(HashBytes, PublicConstantsAreNoBlindSpots) {
  using namespace hash_parts;
  std::vector<std::uint64_t> special;
  for (const std::uint64_t c : {std::uint64_t{0}, kSeedXor0, kSeedXor1, kSeedFactor0, kSeedFactor1,
                                std::uint64_t{kSizeFactor}, ~std::uint64_t{0}}) {
    for (const std::uint64_t v : {c, ~c, ~c + 1, c << 32 | c >> 32}) special.push_back(v);
  }
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, kSeed}) {
    for (std::size_t place = 0; place < 8; ++place) {
      std::set<std::uint64_t> seen;
      std::size_t keys = 0;
      for (const std::uint64_t word : std::set<std::uint64_t>(special.begin(), special.end())) {
        for (std::uint64_t other = 0; other < 64; ++other) {
          std::uint64_t words[8];
          for (auto& w : words) w = other;
          words[place] = word;
          seen.insert(hash_bytes(words, sizeof(words), seed));
          if (place < 4) seen.insert(hash_bytes(words, sizeof(words) / 2, seed));
          keys += (word == other ? 0 : place < 4 ? 2 : 1);
        }
      }
      EXPECT_GE(seen.size(), keys);
    }
  }
}

}  // namespace
}  // namespace tern::simd
