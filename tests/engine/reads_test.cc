// Sets, and gets into the caller's memory, on every instruction set of this machine, against the get that answers a value of its
// own: single, by token and in groups; keys and values of every length around each limit of the short way.
#include <gtest/gtest.h>

#include <tern/store.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "engine/reads.h"
#include "engine/writes.h"

namespace tern {
namespace {

class Reads : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (GetParam() > detail::best_reads()) GTEST_SKIP() << "this machine lacks instruction set " << GetParam();
    Options options;
    options.memory_bytes = std::size_t{32} << 20;
    options.hash_seed = 7;
    store_ = *Store::open(options);
    detail::choose_reads(GetParam());
    detail::choose_writes(GetParam());
  }
  void TearDown() override {
    detail::choose_reads(detail::best_reads());
    detail::choose_writes(detail::best_reads());
  }

  void put(const std::string& key, const std::string& value) {
    // The first enters the key; the others replace what it has, alone and in a group.
    const auto first = store_.set(key, std::string(value.size() / 2, '#'));
    const auto second = store_.set(key, std::string(value.size(), '-'));
    Result<std::uint64_t> third = Status::kNotFound;
    const Item item{key, value};
    ASSERT_TRUE(store_.set_many({&item, 1}, {&third, 1}).ok());
    ASSERT_TRUE(first.ok() && second.ok() && third.ok());
    ASSERT_LT(*first, *second);
    ASSERT_LT(*second, *third);
    model_[key] = value;
  }

  // What each way answers, and that nothing past the value's end is written.
  void expect_all_ways(const std::vector<std::string>& keys, std::size_t room) {
    constexpr char kUntouched = '\x5A';
    std::vector<std::string_view> views(keys.begin(), keys.end());
    std::vector<char> many(keys.size() * room + 1, kUntouched);
    std::vector<Lookup<std::size_t>> answers(keys.size());
    ASSERT_TRUE(store_.get_many(views, many.data(), room, answers).ok());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      std::vector<char> one(room + 1, kUntouched), by_token(room + 1, kUntouched);
      (void)store_.get(keys[i], std::span<char>(one.data(), room));  // from the third on the length is expected
      (void)store_.get(keys[i], std::span<char>(one.data(), room));
      const auto single = store_.get(keys[i], std::span<char>(one.data(), room));
      const auto token = store_.get(store_.prefetch(keys[i]), std::span<char>(by_token.data(), room));
      const auto known = model_.find(keys[i]);
      for (const auto& answer : {single, token, answers[i]}) {
        ASSERT_EQ(answer.found(), known != model_.end()) << "key of " << keys[i].size() << " bytes";
        if (answer.found()) {
          ASSERT_EQ(*answer, known->second.size());
        }
      }
      std::string expected(room, kUntouched);
      if (known != model_.end() && known->second.size() <= room) {
        std::memcpy(expected.data(), known->second.data(), known->second.size());
      }
      ASSERT_EQ(std::string_view(one.data(), room), expected) << "key of " << keys[i].size() << " bytes";
      ASSERT_EQ(std::string_view(by_token.data(), room), expected);
      ASSERT_EQ(std::string_view(many.data() + i * room, room), expected);
      ASSERT_EQ(one[room], kUntouched);
    }
    ASSERT_EQ(many[keys.size() * room], kUntouched);
  }

  Store store_;
  std::map<std::string, std::string> model_;
};

// Four ahead, as it is meant, with keys that go, come and have never been there in between.
TEST_P(Reads, PreparedAheadAnswerAsTheKeysStandWhenTheyAreRead) {
  std::vector<std::string> keys;
  for (unsigned i = 0; i != 2000; ++i) {
    keys.push_back("prepared " + std::to_string(i) + std::string(i % 60, 'k'));
    if (i % 3 != 0) put(keys.back(), "value " + std::to_string(i) + std::string(i % 70, 'v'));
  }
  constexpr std::size_t kAhead = 4;
  std::vector<Token> tokens;
  for (std::size_t i = 0; i != keys.size() + kAhead; ++i) {
    if (i < keys.size()) tokens.push_back(store_.prefetch(keys[i]));
    if (i < kAhead) continue;
    const std::size_t at = i - kAhead;
    if (at % 7 == 0) {
      (void)store_.del(keys[at]);
      model_.erase(keys[at]);
    } else if (at % 11 == 0) {
      put(keys[at], "another " + std::to_string(at));
    }
    char out[128];
    const auto answer = store_.get(tokens[at], std::span<char>(out));
    const auto known = model_.find(keys[at]);
    ASSERT_EQ(answer.found(), known != model_.end()) << keys[at];
    if (answer.found()) {
      ASSERT_EQ(std::string_view(out, *answer), known->second);
    }
  }
}

TEST_P(Reads, AnswerEveryLengthOfKeyAndValue) {
  std::vector<std::string> keys;
  for (std::size_t n = 1; n <= 80; ++n) {
    std::string key(n, 'k');
    key[n / 2] = static_cast<char>('0' + n % 10);
    put(key, std::string(n * 7 % 150, static_cast<char>('a' + n % 26)));
    keys.push_back(key);
  }
  for (const std::size_t room : {0u, 1u, 31u, 32u, 33u, 63u, 64u, 65u, 127u, 128u, 129u, 200u}) {
    ASSERT_NO_FATAL_FAILURE(expect_all_ways(keys, room)) << room;
  }
}

TEST_P(Reads, AnswerValuesWhoseLengthRepeatsAndChanges) {
  // Runs of one length and jumps between lengths: the length that a get expects is right, then wrong.
  std::vector<std::string> keys;
  for (unsigned i = 0; i != 400; ++i) {
    const std::string key = "run:" + std::to_string(1'000'000'000'000 + i);
    put(key, std::string(i / 7 % 2 == 0 ? 64 : i % 140, static_cast<char>('a' + i % 26)));
    keys.push_back(key);
  }
  ASSERT_NO_FATAL_FAILURE(expect_all_ways(keys, 140));
  ASSERT_NO_FATAL_FAILURE(expect_all_ways(keys, 64));
}

TEST_P(Reads, TellKeysApartThatDifferInOneByte) {
  std::vector<std::string> keys;
  for (std::size_t n = 14; n <= 66; ++n) {
    for (std::size_t at = 0; at < n; at += 5) {
      std::string key(n, 'x');
      key[at] = 'y';
      if (at % 2 == 0) put(key, std::to_string(n * 100 + at));
      keys.push_back(key);
    }
  }
  ASSERT_NO_FATAL_FAILURE(expect_all_ways(keys, 64));
}

TEST_P(Reads, FindKeysInOverflowBucketsAndDuringGrowth) {
  // A shard's table grows one bucket at a time: in between there are chains, and each key is in one of them.
  std::vector<std::string> keys;
  for (unsigned i = 0; i != 30'000; ++i) {
    put("growing:" + std::to_string(10'000'000'000 + i), std::to_string(i));
    if (i % 50 == 0) keys.push_back("growing:" + std::to_string(10'000'000'000 + i));
    if (i % 50 == 1) keys.push_back("missing:" + std::to_string(i));
    if (i % 3'000 == 0) {
      ASSERT_NO_FATAL_FAILURE(expect_all_ways(keys, 64)) << i;
    }
  }
  ASSERT_NO_FATAL_FAILURE(expect_all_ways(keys, 64));
}

TEST_P(Reads, AnswerInsideAVisitAndAfterClose) {
  put("a key that is visited", "outer");
  put("a key that is read", "inner");
  char out[64] = {};
  ASSERT_TRUE(*store_.visit("a key that is visited", [&](std::string_view) {
    const auto hit = store_.get("a key that is read", std::span<char>(out));
    ASSERT_TRUE(hit.found());
    EXPECT_EQ(std::string_view(out, *hit), "inner");
  }));
  const Store other = store_;
  store_.close();
  EXPECT_EQ(other.get("a key that is read", std::span<char>(out)).status(), Status::kClosed);
  const Store none;
  EXPECT_EQ(none.get("a key that is read", std::span<char>(out)).status(), Status::kClosed);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Reads, ::testing::Values(TERN_LEVEL_BASE, TERN_LEVEL_AVX2, TERN_LEVEL_AVX512));

}  // namespace
}  // namespace tern
