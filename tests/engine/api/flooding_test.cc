// Keys crafted to collide under one seed do no harm under another (R13). Judged by counts, not by
// time.
#include <tern/hash.h>
#include <tern/store.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

constexpr std::uint64_t kKnownSeed = 0x1234;

// Keys whose hashes agree in the 14 lowest bits under the known seed: one bucket in a table of up
// to 16,384.
std::vector<std::string> crafted_keys(std::size_t count) {
  std::vector<std::string> keys;
  for (std::uint64_t n = 0; keys.size() < count; ++n) {
    std::string key = numbered("crafted", n);
    if ((hash_key(key, kKnownSeed) & 0x3fff) == 0) keys.push_back(std::move(key));
  }
  return keys;
}

Store store_with(std::optional<std::uint64_t> seed) {
  Options options = small_options();
  options.shard_count = 1;
  options.hash_seed = seed;
  return open_or_fail(options);
}

// The deepest slot that a look-up has to go to, and how many keys share the fullest bucket.
struct Load {
  unsigned deepest = 0;
  std::size_t fullest = 0;
};
Load load_of(const Store& store, const std::vector<std::string>& keys) {
  Load load;
  std::vector<std::size_t> buckets(store.stats().buckets);
  for (const std::string& key : keys) {
    const Lookup<Inspection> r = store.inspect(key);
    EXPECT_TRUE(r);
    load.deepest = std::max(load.deepest, r->slot);
    load.fullest = std::max(load.fullest, ++buckets[r->bucket]);
  }
  return load;
}

TEST(FloodingTest, KeysCraftedForOneSeedAreOrdinaryUnderAnother) {
  const std::vector<std::string> keys = crafted_keys(600);
  std::vector<std::string> ordinary;
  for (unsigned i = 0; i < 600; ++i) ordinary.push_back(numbered("ordinary", i));

  const Store victim = store_with(kKnownSeed);
  const Store other = store_with(kKnownSeed + 1);
  const Store secret = store_with(std::nullopt);
  const Store benign = store_with(kKnownSeed);
  for (const std::string& key : keys) {
    ASSERT_TRUE(victim.set(key, "v"));
    ASSERT_TRUE(other.set(key, "v"));
    ASSERT_TRUE(secret.set(key, "v"));
  }
  for (const std::string& key : ordinary) ASSERT_TRUE(benign.set(key, "v"));
  EXPECT_GT(load_of(victim, keys).fullest, 300u)
      << "the keys do collide where they were crafted for";
  const Load usual = load_of(benign, ordinary);
  for (const Store* store : {&other, &secret}) {
    const Load load = load_of(*store, keys);
    EXPECT_LE(load.deepest, usual.deepest + 7);
    EXPECT_LE(load.fullest, usual.fullest + 7);
  }
}

TEST(FloodingTest, EvenTheCollidingKeysAreAllFoundAndRemoved) {
  const std::vector<std::string> keys = crafted_keys(1'500);
  const Store store = store_with(kKnownSeed);
  for (const std::string& key : keys) ASSERT_TRUE(store.set(key, key));
  for (unsigned i = 0; i < 20'000; ++i) ASSERT_TRUE(store.set(numbered("other", i), ""));
  for (const std::string& key : keys) ASSERT_EQ(value_of(store, key), key);
  EXPECT_TRUE(whole(store));
  for (std::size_t i = 0; i < keys.size(); i += 2) ASSERT_TRUE(*store.del(keys[i]));
  for (std::size_t i = 0; i < keys.size(); ++i) ASSERT_EQ(*store.exists(keys[i]), i % 2 == 1);
  EXPECT_TRUE(whole(store));
}

TEST(FloodingTest, KeysInSequenceAndWithCommonPartsSpread) {
  const Store store = store_with(kKnownSeed);
  std::vector<std::string> keys;
  for (unsigned i = 0; i < 5'000; ++i) keys.push_back(std::string(200, 'p') + std::to_string(i));
  for (unsigned i = 0; i < 5'000; ++i) keys.push_back(std::to_string(i) + std::string(200, 's'));
  for (unsigned i = 1; i < 1'000; ++i) keys.push_back(std::string(i, '\0'));
  for (unsigned i = 0; i < 5'000; ++i) {
    std::string raw(8, '\0');
    for (unsigned b = 0; b < 4; ++b) raw[b] = static_cast<char>(i >> (8 * b));
    keys.push_back(raw);
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  for (const std::string& key : keys) ASSERT_TRUE(store.set(key, ""));
  EXPECT_LE(load_of(store, keys).fullest, 28u) << "about 5 to 9 on average";
}

}  // namespace
}  // namespace tern::test
