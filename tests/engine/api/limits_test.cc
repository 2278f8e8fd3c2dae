// Sizes at and around every limit, and every call's answer to what is past them.
#include <tern/store.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class LimitsTest : public StoreTest {
 protected:
  // The value through every way of reading.
  static void expect_value(const Store& s, std::string_view key, std::string_view value) {
    std::vector<char> buffer(value.size() + 1, '#');
    const Lookup<std::size_t> n = s.get(key, std::span<char>(buffer.data(), value.size()));
    ASSERT_TRUE(n);
    ASSERT_EQ(*n, value.size());
    ASSERT_TRUE(std::string_view(buffer.data(), value.size()) == value);
    ASSERT_EQ(buffer.back(), '#');
    ASSERT_TRUE(s.get(key)->view() == value);
    ASSERT_TRUE(s.hold(key)->view() == value);
    bool same = false;
    ASSERT_TRUE(s.visit(key, [&](std::string_view v) { same = v == value; }));
    ASSERT_TRUE(same);
    const std::string_view keys[] = {key};
    Values values;
    ASSERT_TRUE(s.get_many(keys, values));
    ASSERT_TRUE(*values[0] == value);
    const Lookup<Inspection> inspection = s.inspect(key);
    ASSERT_TRUE(inspection);
    ASSERT_EQ(inspection->key_bytes, key.size());
    ASSERT_EQ(inspection->value_bytes, value.size());
    ASSERT_GE(inspection->block_bytes, key.size() + value.size());
  }
};

TEST_F(LimitsTest, AnEmptyKeyIsInvalidForEveryCall) {
  for (const auto& [call, error] : every_keyed_call(store, "")) {
    EXPECT_EQ(error.status, Status::kInvalidKey) << call;
  }
  EXPECT_EQ(store.memory_usage("").status(), Status::kInvalidKey);
  EXPECT_EQ(store.inspect("").status(), Status::kInvalidKey);
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(LimitsTest, AKeyPastTheLimitIsTooLargeForEveryCall) {
  for (const std::size_t size : {kKeyBytesMax + 1, kKeyBytesMax + 8, std::size_t{65'535},
                                 std::size_t{65'536}, std::size_t{65'537}, std::size_t{131'072}}) {
    const std::string key(size, 'k');
    for (const auto& [call, error] : every_keyed_call(store, key)) {
      EXPECT_EQ(error, (Error{Status::kTooLarge, Field::kKey})) << call << " " << size;
    }
    EXPECT_EQ(store.memory_usage(key).status(), Status::kTooLarge);
    EXPECT_EQ(store.inspect(key).status(), Status::kTooLarge);
  }
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(LimitsTest, KeysOfEveryLengthAroundTheLimits) {
  std::vector<std::size_t> sizes;
  for (std::size_t n = 1; n <= 40; ++n) sizes.push_back(n);
  for (const std::size_t n : {63u, 64u, 65u, 127u, 128u, 129u, 253u, 254u, 255u, 256u, 257u, 4'095u,
                              4'096u, 8'191u, 8'192u, 8'193u, 32'768u, 65'526u, 65'527u}) {
    sizes.push_back(n);
  }
  for (const std::size_t n : sizes) {
    const std::string key = pattern(n, static_cast<unsigned>(n));
    for (const std::size_t v : {0u, 1u, 100u}) {
      for (const bool with_deadline : {false, true}) {
        SetOptions options;
        if (with_deadline) options.ttl = 1h;
        const Result<std::uint64_t> r = store.set(key, pattern(v), options);
        ASSERT_TRUE(r) << testing::PrintToString(r.error()) << " key " << n << " value " << v;
        ASSERT_NO_FATAL_FAILURE(expect_value(store, key, pattern(v))) << n << " " << v;
      }
    }
    ASSERT_TRUE(*store.del(key)) << n;
    ASSERT_EQ(value_of(store, key), std::nullopt) << n;
    ASSERT_TRUE(store.set(key, "again"));
    ASSERT_EQ(value_of(store, key), "again");
  }
  EXPECT_EQ(store.stats().entries, sizes.size());
}

TEST_F(LimitsTest, LongKeysThatDifferInOneByteAreDifferent) {
  for (const std::size_t n : {16u, 254u, 255u, 256u, 65'527u}) {
    const std::string key = pattern(n, static_cast<unsigned>(n));
    ASSERT_TRUE(store.set(key, "original"));
    for (const std::size_t at : {std::size_t{0}, n / 2, n - 1}) {
      std::string other = key;
      other[at] = static_cast<char>(other[at] ^ 0x40);
      ASSERT_EQ(value_of(store, other), std::nullopt) << n;
    }
    ASSERT_EQ(value_of(store, key.substr(0, n - 1)), std::nullopt);
  }
}

TEST_F(LimitsTest, RecordsOfEverySizeThroughTheFineClasses) {
  // 24 bytes of header (32 with a deadline) and the key: every record size from 16 to 300 and a
  // little more.
  for (const std::size_t key_size : {1u, 7u, 8u, 20u, 254u, 255u}) {
    const std::string key = pattern(key_size, 1);
    for (std::size_t v = 0; v <= 300; ++v) {
      const std::string value = pattern(v, static_cast<unsigned>(v));
      ASSERT_TRUE(store.set(key, value));
      ASSERT_NO_FATAL_FAILURE(expect_value(store, key, value)) << key_size << " " << v;
      ASSERT_TRUE(store.set(key, value, {.ttl = 1h}));
      ASSERT_NO_FATAL_FAILURE(expect_value(store, key, value)) << key_size << " " << v;
    }
  }
}

TEST_F(LimitsTest, ValuesAroundEveryBoundary) {
  std::vector<std::size_t> sizes;
  const std::size_t key_size = 3;
  for (std::size_t boundary = 256; boundary <= 2 * kMiB; boundary *= 2) {
    for (const std::size_t header :
         {std::size_t{0}, std::size_t{24} + key_size, std::size_t{32} + key_size,
          std::size_t{40} + key_size, std::size_t{64}}) {
      for (const int delta : {-1, 0, 1}) {
        sizes.push_back(boundary - header + static_cast<std::size_t>(delta));
      }
    }
  }
  for (const std::size_t n : sizes) {
    const std::string value = pattern(n, static_cast<unsigned>(n));
    const Result<std::uint64_t> r = store.set("key", value);
    ASSERT_TRUE(r) << testing::PrintToString(r.error()) << " " << n;
    ASSERT_NO_FATAL_FAILURE(expect_value(store, "key", value)) << n;
    ASSERT_TRUE(store.set("key", value, {.ttl = 1h})) << n;
    ASSERT_TRUE(store.get("key")->view() == value) << n;
  }
  EXPECT_EQ(store.stats().entries, 1u);
}

TEST_F(LimitsTest, TheLimitOnValuesIsExact) {
  Options options = small_options(&clock);
  for (const std::size_t limit : {std::size_t{1}, std::size_t{64}, std::size_t{65'536},
                                  std::size_t{300'000}, std::size_t{3'000'000}}) {
    options.value_bytes_max = limit;
    const Store s = open_or_fail(options);
    ASSERT_TRUE(s.set("k", pattern(limit))) << limit;
    ASSERT_NO_FATAL_FAILURE(expect_value(s, "k", pattern(limit)));
    const std::string large = pattern(limit + 1);
    const Error expected{Status::kTooLarge, Field::kValue};
    EXPECT_EQ(s.set("k", large).error(), expected);
    EXPECT_EQ(s.set("k", large, {.ttl = 1s}).error(), expected);
    EXPECT_EQ(s.set_nx("new", large).error(), expected);
    EXPECT_EQ(s.get_and_set("k", large).error(), expected);
    EXPECT_EQ(s.compare_and_swap("k", pattern(limit), large).error(), expected);
    EXPECT_EQ(s.compare_and_swap_version("k", s.get_entry("k")->version, large).error(), expected);
    EXPECT_EQ(s.append("k", "x").error(), expected);
    EXPECT_EQ(s.allocate("k", limit + 1).error(), expected);
    ASSERT_NO_FATAL_FAILURE(expect_value(s, "k", pattern(limit)));
    EXPECT_EQ(value_of(s, "new"), std::nullopt);
    EXPECT_TRUE(whole(s));
  }
}

TEST_F(LimitsTest, TheDefaultLimitOnValuesFollowsTheBudget) {
  // Half of what a 16 MiB budget can hold, so something between 4 MiB and 8 MiB; the rest is
  // refused by its size.
  EXPECT_TRUE(store.set("k", pattern(4 * kMiB)));
  EXPECT_TRUE(store.get("k")->view() == pattern(4 * kMiB));
  EXPECT_EQ(store.set("k", std::string(8 * kMiB + 1, 'x')).error(),
            (Error{Status::kTooLarge, Field::kValue}));
  EXPECT_EQ(store.set("k", std::string(17 * kMiB, 'x')).error(),
            (Error{Status::kTooLarge, Field::kValue}));
  EXPECT_TRUE(store.get("k")->view() == pattern(4 * kMiB));
}

TEST_F(LimitsTest, LargeValuesOfALargeStore) {
  Options options = small_options(&clock);
  options.memory_bytes = 300 * kMiB;  // the large spans
  const Store s = open_or_fail(options);
  for (const std::size_t n : {std::size_t{65'535}, std::size_t{65'536}, std::size_t{65'537}, kMiB,
                              2 * kMiB - 64, 2 * kMiB, 64 * kMiB}) {
    const std::string value = pattern(n, static_cast<unsigned>(n));
    ASSERT_TRUE(s.set("k", value)) << n;
    ASSERT_NO_FATAL_FAILURE(expect_value(s, "k", value)) << n;
  }
  EXPECT_EQ(s.set("k", pattern(64 * kMiB + 1)).error(), (Error{Status::kTooLarge, Field::kValue}));
  EXPECT_TRUE(whole(s));
}

TEST_F(LimitsTest, ReplacingBetweenAllSizesLosesNothing) {
  const std::size_t sizes[] = {0,         100, 70'000, 1,       300'000, 8'000,
                               2'000'000, 24,  65'536, 262'143, 262'142};
  for (const std::size_t from : sizes) {
    for (const std::size_t to : sizes) {
      ASSERT_TRUE(store.set("k", pattern(from, 1)));
      ASSERT_TRUE(store.set("k", pattern(to, 2)));
      ASSERT_TRUE(store.get("k")->view() == pattern(to, 2)) << from << " to " << to;
    }
  }
}

TEST_F(LimitsTest, TombsOfLongKeysGiveTheirMemoryBack) {
  // The removal of a key of more than 254 bytes refers to the removed record's key.
  for (unsigned i = 0; i < 5'000; ++i) {
    const std::string key = pattern(10'000, i % 50);
    const Result<std::uint64_t> r = store.set(key, "v");
    ASSERT_TRUE(r) << status_name(r.status()) << " after " << i;
    ASSERT_TRUE(*store.del(key));
    ASSERT_FALSE(*store.del(key));
  }
  EXPECT_EQ(store.stats().entries, 0u);
}

}  // namespace
}  // namespace tern::test
