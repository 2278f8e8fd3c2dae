// Many filters together: the same answers as one by one, at a cost that doesn't follow their number.
#include "engine/filter_set.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/engine/parts/filter_sequence.h"

namespace tern::test {
namespace {

using detail::FilterSet;
using detail::KeyFilter;

TEST(FilterSet, AnswersWhatItsFiltersAnswerOneByOne) {
  FilterCounts counts;
  std::uint64_t state = 7;
  for (int round = 0; round != 400; ++round) {
    std::vector<std::uint8_t> bytes(600);
    for (std::uint8_t& b : bytes) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      b = static_cast<std::uint8_t>(state >> 56);
    }
    const std::string wrong = run_filters(bytes.data(), bytes.size(), &counts);
    ASSERT_EQ(wrong, "") << "round " << round;
  }
  EXPECT_GT(counts.added, 5'000u);
  EXPECT_GT(counts.removed, 1'000u);
  EXPECT_GT(counts.refused, 100u);
  EXPECT_GT(counts.matches, 5'000u);
  EXPECT_GT(counts.keys, 1'000u);
}

std::uint32_t add(FilterSet& set, KeyFilter::Kind kind, const std::string& text) {
  std::uint32_t number = 0;
  EXPECT_EQ(set.add(kind, text, '.', false, 0, number).status, Status::kOk) << text;
  return number;
}
std::vector<std::uint32_t> found(FilterSet& set, std::string_view key) {
  std::vector<std::uint32_t> numbers;
  set.find(key, 1, [&](std::uint32_t n) {
    numbers.push_back(n);
    return true;
  });
  return numbers;
}

TEST(FilterSet, AKeyAsksItsMatchesAndNotTheOthers) {
  FilterSet set(1);
  std::vector<std::uint32_t> prefixes, globs;
  for (int i = 0; i != 10'000; ++i) {
    const std::string text = "user." + std::to_string(100'000 + i);
    prefixes.push_back(add(set, KeyFilter::Kind::kPrefix, text));
    globs.push_back(add(set, KeyFilter::Kind::kGlob, text + ".*"));
  }
  const std::uint64_t before = set.asked();
  EXPECT_EQ(found(set, "user.104242.name"), (std::vector<std::uint32_t>{prefixes[4242], globs[4242]}));
  EXPECT_EQ(found(set, "user.104242"), std::vector<std::uint32_t>{prefixes[4242]});
  EXPECT_TRUE(found(set, "nobody").empty());
  EXPECT_LE(set.asked() - before, 3u);
  for (int i = 0; i != 10'000; i += 2) EXPECT_TRUE(set.remove(prefixes[i]));
  EXPECT_EQ(found(set, "user.104242.name"), std::vector<std::uint32_t>{globs[4242]});
  EXPECT_EQ(found(set, "user.104243"), std::vector<std::uint32_t>{prefixes[4243]});
}

TEST(FilterSet, ExpressionsWithoutAStartAreAskedTogether) {
  if (!Regex::supported()) GTEST_SKIP() << "built without RE2";
  FilterSet set(1);
  std::vector<std::uint32_t> numbers;
  for (int i = 0; i != 500; ++i) {
    numbers.push_back(add(set, KeyFilter::Kind::kRegex, ".*x" + std::to_string(1'000 + i)));
    numbers.push_back(add(set, KeyFilter::Kind::kGlob, "**.y" + std::to_string(1'000 + i)));
  }
  const std::uint64_t before = set.asked();
  EXPECT_EQ(found(set, "some.x1234"), std::vector<std::uint32_t>{numbers[468]});
  EXPECT_EQ(found(set, "some.y1234"), std::vector<std::uint32_t>{numbers[469]});
  EXPECT_LE(set.asked() - before, 2u);
  // One that comes and one that goes are seen by the next key.
  EXPECT_TRUE(set.remove(numbers[468]));
  EXPECT_TRUE(found(set, "some.x1234").empty());
  const std::uint32_t again = add(set, KeyFilter::Kind::kRegex, "some.*");
  EXPECT_EQ(found(set, "some.x1234"), std::vector<std::uint32_t>{again});
}

}  // namespace
}  // namespace tern::test
