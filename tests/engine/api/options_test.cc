// What open() refuses, and that each option does what it says.
#include <tern/store.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

// invalid_argument or out_of_range, with the field.
void expect_refused(const Options& options, Field field, const char* what) {
  const Result<Store> r = Store::open(options);
  EXPECT_TRUE(r.status() == Status::kInvalidArgument || r.status() == Status::kOutOfRange)
      << what << ": " << status_name(r.status());
  EXPECT_EQ(r.error().field, field) << what;
  EXPECT_FALSE(r->is_open());
}

TEST(OptionsTest, EachFieldOutOfRangeIsNamed) {
  const auto with = [](auto change) {
    Options options = small_options();
    change(options);
    return options;
  };
  expect_refused(with([](Options& o) { o.memory_bytes = 0; }), Field::kMemoryBytes, "no memory");
  expect_refused(with([](Options& o) { o.memory_bytes = 4 * kMiB - 1; }), Field::kMemoryBytes,
                 "too little");
  expect_refused(with([](Options& o) { o.memory_bytes = (std::size_t{8} << 40) + 1; }),
                 Field::kMemoryBytes, "too much");
  expect_refused(with([](Options& o) { o.memory_bytes = ~std::size_t{0}; }), Field::kMemoryBytes,
                 "the most");
  expect_refused(with([](Options& o) { o.memory_bytes_max = o.memory_bytes - 1; }),
                 Field::kMemoryBytesMax, "less than the budget");
  expect_refused(with([](Options& o) { o.memory_bytes_max = (std::size_t{8} << 40) + 1; }),
                 Field::kMemoryBytesMax, "too much to reserve");
  expect_refused(with([](Options& o) { o.shard_count = 3; }), Field::kShardCount,
                 "no power of two");
  expect_refused(with([](Options& o) { o.shard_count = 2'048; }), Field::kShardCount, "too many");
  expect_refused(with([](Options& o) { o.shard_count = 0x80000000u; }), Field::kShardCount,
                 "far too many");
  expect_refused(with([](Options& o) { o.value_bytes_max = (std::size_t{4} << 30) - 65'535; }),
                 Field::kValueBytesMax, "past what a length can say");
  expect_refused(with([](Options& o) { o.value_bytes_max = ~std::size_t{0}; }),
                 Field::kValueBytesMax, "the most");
  expect_refused(with([](Options& o) {
                   o.weigher = [](void*, std::string_view, std::string_view) -> std::uint32_t { return 1; };
                 }),
                 Field::kWeigher, "a weight without a bound");
  expect_refused(with([](Options& o) { o.full = static_cast<WhenFull>(2); }), Field::kFull, "neither");
  expect_refused(with([](Options& o) { o.maintenance = static_cast<Maintenance>(2); }), Field::kMaintenance, "neither");
  const std::string name(64, 'n');
  expect_refused(with([&](Options& o) { o.name = name; }), Field::kName, "64 bytes");
}

TEST(OptionsTest, TheCallersMemoryIsChecked) {
  std::vector<char> small(kMiB);
  Options options = small_options();
  options.memory = small.data();
  options.memory_size = small.size();
  expect_refused(options, Field::kMemory, "too small");
  options.memory = nullptr;
  options.memory_size = 64 * kMiB;
  expect_refused(options, Field::kMemory, "a size without memory");
  options.memory = small.data();
  options.memory_size = 0;
  expect_refused(options, Field::kMemory, "memory without a size");
}

TEST(OptionsTest, TheLimitsThemselvesAreAccepted) {
  Options options = small_options();
  options.memory_bytes = 4 * kMiB;
  const std::string name(63, 'n');
  options.name = name;
  options.shard_count = 1;
  EXPECT_TRUE(whole(open_or_fail(options)));
  options.memory_bytes = 64 * kMiB;
  options.shard_count = 1'024;
  EXPECT_TRUE(whole(open_or_fail(options)));
}

TEST(OptionsTest, TheDefaultsOpen) {
  const Result<Store> store = Store::open();
  ASSERT_TRUE(store);
  EXPECT_TRUE(store->is_open());
  EXPECT_EQ(store->stats().memory_bytes, std::size_t{64} << 20);
  ASSERT_TRUE(store->set("k", "v"));
  EXPECT_EQ(value_of(*store, "k"), "v");
}

TEST(OptionsTest, TheNameNeedNotOutliveOpen) {
  Options options = small_options();
  auto name = std::make_unique<std::string>("players");
  options.name = *name;
  const Store store = open_or_fail(options);
  name.reset();
  ASSERT_TRUE(store.set("k", "v"));
  EXPECT_TRUE(whole(store));
}

TEST(OptionsTest, EveryShardCountHoldsEveryKey) {
  for (unsigned shards = 1; shards <= 1'024; shards *= 4) {
    Options options = small_options();
    options.memory_bytes = 64 * kMiB;
    options.shard_count = shards;
    const Store store = open_or_fail(options);
    for (unsigned i = 0; i < 3'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), numbered("v", i)));
    for (unsigned i = 0; i < 3'000; ++i) {
      ASSERT_EQ(value_of(store, numbered("k", i)), numbered("v", i)) << shards;
    }
    ASSERT_LT(store.inspect("k0")->shard, shards);
    EXPECT_TRUE(whole(store)) << shards;
  }
}

TEST(OptionsTest, EveryCombinationOfTheSwitchesWorks) {
  for (unsigned bits = 0; bits < 8; ++bits) {
    Options options = small_options();
    options.memory_bytes = 8 * kMiB;
    options.huge_pages = (bits & 1) != 0;
    options.prefault = (bits & 2) != 0;
    options.align_records = (bits & 4) != 0;
    const Store store = open_or_fail(options);
    for (unsigned i = 0; i < 3'000; ++i) {
      const std::string value = pattern(i % 300, i);
      ASSERT_TRUE(store.set(numbered("k", i), value));
      ASSERT_EQ(value_of(store, numbered("k", i)), value);
    }
    for (unsigned i = 0; i < 3'000; ++i) {
      ASSERT_EQ(value_of(store, numbered("k", i)), pattern(i % 300, i)) << bits;
    }
    EXPECT_TRUE(whole(store)) << bits;
  }
}

TEST(OptionsTest, AlignedRecordsLieOnTwoCacheLines) {
  Options options = small_options();
  options.align_records = true;
  const Store store = open_or_fail(options);
  for (unsigned i = 0; i < 1'000; ++i) {
    const std::string key = numbered("a key of some length ", i);
    ASSERT_TRUE(store.set(key, pattern(60)));
    const Lookup<HeldValue> held = store.hold(key);
    const auto record = reinterpret_cast<std::uintptr_t>(held->data()) - key.size() - 24;
    ASSERT_EQ(record % 128, 0u);
  }
}

TEST(OptionsTest, TheCallersOwnMemoryHoldsTheWholeStore) {
  constexpr std::size_t kBytes = 16 * kMiB;
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  const std::unique_ptr<char, Free> region(
      static_cast<char*>(std::aligned_alloc(4'096, kBytes + 8'192)));
  char* const end = region.get() + kBytes;
  std::fill(region.get(), end + 8'192, '\xA5');  // what was there doesn't matter
  Options options = small_options();
  options.memory = region.get();
  options.memory_size = kBytes;
  options.memory_bytes = 1;  // ignored
  options.eviction = false;
  {
    const Store store = open_or_fail(options);
    EXPECT_LE(store.stats().memory_bytes, kBytes);
    EXPECT_GE(store.stats().memory_bytes, kBytes / 2);
    unsigned count = 0;
    Status last = Status::kOk;
    for (; last == Status::kOk; ++count)
      last = store.set(numbered("k", count), pattern(200, count)).status();
    EXPECT_EQ(last, Status::kOutOfMemory);
    for (unsigned i = 0; i + 1 < count; i += 97) {
      const Lookup<HeldValue> held = store.hold(numbered("k", i));
      ASSERT_TRUE(held);
      ASSERT_GE(held->data(), region.get());
      ASSERT_LE(held->data() + held->size(), end);
      ASSERT_EQ(held->view(), pattern(200, i));
    }
    EXPECT_TRUE(whole(store));
  }
  for (const char* p = end; p < end + 8'192; ++p)
    ASSERT_EQ(*p, '\xA5') << "written past the region";
  // The region serves another store afterwards.
  const Store again = open_or_fail(options);
  EXPECT_EQ(value_of(again, "k0"), std::nullopt);
  ASSERT_TRUE(again.set("k", "v"));
  EXPECT_TRUE(whole(again));
}

TEST(OptionsTest, AnUnalignedRegionIsUsedOrRefusedByName) {
  std::vector<char> region(17 * kMiB);
  for (const std::size_t shift : {1u, 8u, 63u, 64u, 4'095u}) {
    Options options = small_options();
    options.memory = region.data() + shift;
    options.memory_size = 16 * kMiB;
    const Result<Store> store = Store::open(options);
    if (!store) {
      EXPECT_EQ(store.error().field, Field::kMemory) << shift;
      continue;
    }
    for (unsigned i = 0; i < 100; ++i) ASSERT_TRUE(store->set(numbered("k", i), pattern(1'000, i)));
    const Lookup<HeldValue> held = store->hold("k99");
    EXPECT_GE(held->data(), region.data() + shift);
    EXPECT_LE(held->data() + held->size(), region.data() + shift + 16 * kMiB);
    EXPECT_TRUE(whole(*store));
  }
}

TEST(OptionsTest, DifferentSeedsPlaceKeysDifferently) {
  std::vector<std::uint64_t> places[2];
  for (unsigned s = 0; s < 2; ++s) {
    Options options = small_options();
    options.shard_count = 1;
    options.hash_seed = s + 1;
    const Store store = open_or_fail(options);
    for (unsigned i = 0; i < 500; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v"));
    for (unsigned i = 0; i < 500; ++i) places[s].push_back(store.inspect(numbered("k", i))->bucket);
  }
  unsigned same = 0;
  for (unsigned i = 0; i < 500; ++i) same += places[0][i] == places[1][i];
  EXPECT_LT(same, 100u);
}

TEST(OptionsTest, StoresWithoutASeedGetOneEach) {
  std::vector<std::uint64_t> places[2];
  for (auto& p : places) {
    Options options = small_options();
    options.shard_count = 1;
    options.hash_seed.reset();
    const Store store = open_or_fail(options);
    for (unsigned i = 0; i < 500; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v"));
    for (unsigned i = 0; i < 500; ++i) p.push_back(store.inspect(numbered("k", i))->bucket);
  }
  EXPECT_NE(places[0], places[1]);
}

TEST(OptionsTest, ATableOpenedAtItsSizeDoesNotGrowOnTheWayThere) {
  Options options = small_options();
  options.memory_bytes = 32 * kMiB;
  options.entries_expected = 50'000;
  const Store store = open_or_fail(options);
  const std::uint64_t at_first = store.stats().buckets;
  EXPECT_GE(at_first * 35, 50'000u * 8);
  for (unsigned i = 0; i < 45'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v"));
  EXPECT_LE(store.stats().buckets, at_first + at_first / 50) << "shards are not filled quite alike";
  for (unsigned i = 45'000; i < 120'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v"));
  EXPECT_GT(store.stats().buckets, at_first * 2) << "a hint, no bound";
  for (unsigned i = 0; i < 120'000; ++i) ASSERT_TRUE(*store.exists(numbered("k", i)));
  EXPECT_TRUE(whole(store));

  options.entries_expected = 10'000'000;
  expect_refused(options, Field::kEntriesExpected, "a table of a quarter of the budget and more");
  options.entries_expected = ~std::size_t{0};
  expect_refused(options, Field::kEntriesExpected, "the most");
  options.entries_expected = 1;
  EXPECT_TRUE(Store::open(options));
}

}  // namespace
}  // namespace tern::test
