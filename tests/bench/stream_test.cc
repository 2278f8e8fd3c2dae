#include "bench/stream.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace tern::bench {
namespace {

const KeyMaker& maker() {
  static const KeyMaker m(Sizes(16, 24), Sizes(64, 64));
  return m;
}

std::set<std::string> keys_upto(std::uint64_t n) {
  std::set<std::string> keys;
  std::string slot(maker().key_slot(), 0);
  for (std::uint64_t i = 0; i < n; ++i) keys.insert(slot.substr(0, maker().key(i, slot.data())));
  return keys;
}

TEST(ChunkMaker, AFillOfSeveralThreadsSetsEveryKeyOnce) {
  constexpr std::uint64_t kKeys = 10'007;
  const ZipfDraws draws;
  std::set<std::string> seen;
  for (unsigned t = 0; t < 3; ++t) {
    ChunkMaker chunks(*find_workload("fill"), maker(), &draws,
                      {.entries = kKeys, .thread = t, .threads = 3, .batch = 64, .seed = 1});
    for (;;) {
      const Chunk& c = chunks.next();
      if (c.size == 0) break;
      for (std::size_t i = 0; i < c.size; ++i) {
        ASSERT_EQ(c.kinds[i], Kind::kSet);
        ASSERT_TRUE(seen.insert(std::string(c.keys[i])).second);
      }
    }
  }
  EXPECT_EQ(seen, keys_upto(kKeys));
}

TEST(ChunkMaker, SharesOfOperationsAreAsAsked) {
  const ZipfDraws draws(1000, 10'000, 1);
  for (const char* const name : {"ycsb-a", "ycsb-b", "ycsb-f", "ycsb-d"}) {
    const Workload w = *find_workload(name);
    ChunkMaker chunks(w, maker(), &draws, {.entries = 1000, .seed = 1});
    std::map<Kind, double> seen;
    double total = 0;
    for (int n = 0; n < 50; ++n) {
      const Chunk& c = chunks.next();
      for (std::size_t i = 0; i < c.size; ++i) ++seen[c.kinds[i]];
      total += static_cast<double>(c.size);
    }
    EXPECT_NEAR(100 * seen[Kind::kSet] / total, w.set, 1) << name;
    EXPECT_NEAR(100 * seen[Kind::kInsert] / total, w.insert, 1) << name;
    EXPECT_NEAR(100 * seen[Kind::kReadModifyWrite] / total, w.read_modify_write, 1) << name;
  }
}

TEST(ChunkMaker, AGroupIsAllOfOneKind) {
  const ZipfDraws draws(1000, 10'000, 1);
  ChunkMaker chunks(*find_workload("ycsb-a"), maker(), &draws,
                    {.entries = 1000, .batch = 64, .seed = 1});
  const Chunk& c = chunks.next();
  ASSERT_EQ(c.size % 64, 0u);
  for (std::size_t i = 0; i < c.size; ++i) ASSERT_EQ(c.kinds[i], c.kinds[i / 64 * 64]);
}

TEST(ChunkMaker, WhatACorrectStoreAnswersIsTheSumOfTheReads) {
  const ZipfDraws draws(1000, 10'000, 1);
  ChunkMaker chunks(*find_workload("ycsb-a"), maker(), &draws, {.entries = 1000, .seed = 1});
  const Chunk& c = chunks.next();
  std::uint64_t sum = 0, gets = 0;
  for (std::size_t i = 0; i < c.size; ++i) {
    if (c.kinds[i] != Kind::kGet) continue;
    sum += c.heads[i];
    ++gets;
  }
  EXPECT_EQ(c.heads_sum, sum);
  EXPECT_EQ(c.gets, gets);
}

TEST(ChunkMaker, MissesAskForKeysThatWereNeverSet) {
  const ZipfDraws draws;
  const std::set<std::string> all = keys_upto(10'000);
  ChunkMaker chunks(*find_workload("get-miss"), maker(), &draws, {.entries = 10'000, .seed = 1});
  const Chunk& c = chunks.next();
  for (std::size_t i = 0; i < c.size; ++i) ASSERT_FALSE(all.contains(std::string(c.keys[i])));
}

TEST(ChunkMaker, InsertsKeepTheNumberOfKeysAndReadsFindThem) {
  constexpr std::uint64_t kKeys = 5000;
  const ZipfDraws draws(kKeys, 100'000, 1);
  std::set<std::string> store = keys_upto(kKeys);
  const std::set<std::string> before = store;
  for (unsigned t = 0; t < 2; ++t) {
    ChunkMaker chunks(*find_workload("ycsb-d"), maker(), &draws,
                      {.entries = kKeys, .thread = t, .threads = 2, .seed = 1});
    const auto remove = [&](std::string_view key) { ASSERT_EQ(store.erase(std::string(key)), 1u); };
    for (int n = 0; n < 40; ++n) {  // more inserts than there are keys
      const Chunk& c = chunks.next();
      for (std::size_t i = 0; i < c.size; ++i) {
        const std::string key(c.keys[i]);
        if (c.kinds[i] == Kind::kInsert) {
          ASSERT_TRUE(store.insert(key).second);
        } else {
          ASSERT_TRUE(store.contains(key));
        }
      }
      chunks.settle(remove);
      ASSERT_EQ(store.size(), kKeys);
    }
    chunks.restore(remove, [&](std::string_view key, std::uint64_t, std::uint32_t) {
      store.insert(std::string(key));
    });
    ASSERT_EQ(store, before);
  }
}

}  // namespace
}  // namespace tern::bench
