// Many keys put in order, against the plain way.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "engine/key_bytes.h"
#include "engine/workers.h"

namespace tern::test {
namespace {

using Names = std::vector<std::string>;

void expect_sorted(Names keys) {
  Names wanted = keys;
  std::sort(wanted.begin(), wanted.end());
  for (const bool reverse : {false, true}) {
    for (const unsigned threads : {1u, 3u}) {
      detail::KeyList list;
      for (const std::string& key : keys) ASSERT_TRUE(list.add(key, key.size() + 7));
      detail::sort_keys(threads, list, reverse);
      ASSERT_EQ(list.count(), wanted.size());
      for (std::size_t i = 0; i != wanted.size(); ++i) {
        ASSERT_EQ(list[i].key(), wanted[i]) << i;
        ASSERT_EQ(list[i].version, wanted[i].size() + 7);
      }
    }
    std::reverse(wanted.begin(), wanted.end());
  }
}

TEST(KeySortTest, NoneAndOneAndAFew) {
  expect_sorted({});
  expect_sorted({"a"});
  expect_sorted({"b", "a", "ab", "B", "\xFF"});
}

TEST(KeySortTest, BehindALongBeginningThatAllHave) {
  Names keys;
  for (unsigned n = 0; n != 5'000; ++n) keys.push_back(std::string(100, 'x') + std::to_string(n * 7'919u % 5'003u));
  expect_sorted(keys);
}

// A zero byte isn't the end of a key.
TEST(KeySortTest, BeginningsOfEachOtherAndZeroBytes) {
  Names keys;
  for (unsigned n = 1; n != 200; ++n) {
    keys.emplace_back(n, '\0');
    keys.push_back(std::string(n, '\0') + "a");
    keys.push_back("abcd" + std::string(n % 9, '\0') + std::to_string(n));
  }
  std::shuffle(keys.begin(), keys.end(), std::minstd_rand(3));
  expect_sorted(keys);
}

TEST(KeySortTest, MoreLevelsThanItHas) {
  Names keys;
  for (unsigned level = 0; level != 90; ++level) {
    for (unsigned n = 0; n != 20; ++n) keys.push_back(std::string(level * 4, 'p') + "q" + std::to_string(n));
  }
  std::shuffle(keys.begin(), keys.end(), std::minstd_rand(5));
  expect_sorted(keys);
}

TEST(KeySortTest, AnyKeys) {
  std::mt19937_64 random(9);
  for (int round = 0; round != 30; ++round) {
    Names keys(1 + random() % 3'000);
    for (std::string& key : keys) {
      key.resize(random() % 12);
      for (char& c : key) c = static_cast<char>(round % 2 == 0 ? random() : "ab\0\xFF"[random() % 4]);
    }
    expect_sorted(keys);  // equal ones, too: of these the versions are equal
  }
}

}  // namespace
}  // namespace tern::test
