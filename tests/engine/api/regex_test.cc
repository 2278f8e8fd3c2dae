// Regular expressions over keys: bytes, the whole key, errors with a position, and bounds that hold.
#include <gtest/gtest.h>
#include <tern/regex.h>

#include <random>
#include <string>
#include <string_view>
#include <utility>

namespace tern::test {
namespace {

using namespace std::string_view_literals;

class RegexTest : public testing::Test {
 protected:
  void SetUp() override {
    if (Regex::supported()) return;
    EXPECT_EQ(Regex::compile("a").error(), (Error{Status::kUnsupported, Field::kRegex}));
    GTEST_SKIP() << "this build has no RE2 (apt-get install libre2-dev)";
  }
};

bool matches(std::string_view text, std::string_view key, RegexOptions options = {}) {
  const Result<Regex> r = Regex::compile(text, options);
  EXPECT_TRUE(r.ok()) << text;
  return r->matches(key);
}

TEST_F(RegexTest, TheWholeKeyMustMatch) {
  EXPECT_TRUE(matches(R"(/counters/\d+)", "/counters/17"));
  EXPECT_FALSE(matches(R"(/counters/\d+)", "/counters/17x"));
  EXPECT_FALSE(matches(R"(/counters/\d+)", "x/counters/17"));
  EXPECT_TRUE(matches(R"(.*ters.*)", "/counters/17"));
  EXPECT_TRUE(matches("a|ab", "ab"));
  EXPECT_TRUE(matches("", ""));
  EXPECT_FALSE(matches("", "a"));
}

TEST_F(RegexTest, KeysAreBytes) {
  EXPECT_TRUE(matches("a.b", "a\0b"sv));
  EXPECT_TRUE(matches("a.b", "a\nb"));
  EXPECT_TRUE(matches("a.b", "a\xff"
                             "b"));
  EXPECT_FALSE(matches("a.b", "a\xc3\xa4"
                              "b"));
  EXPECT_TRUE(matches("a\xc3\xa4", "a\xc3\xa4"));
}

TEST_F(RegexTest, CaseIsFoldedIfAsked) {
  EXPECT_FALSE(matches("abc", "ABC"));
  EXPECT_TRUE(matches("abc", "ABC", {.fold_case = true}));
}

TEST_F(RegexTest, AMalformedExpressionNamesThePosition) {
  const auto error = [](std::string_view text) { return Regex::compile(text).error(); };
  EXPECT_EQ(error("ab[c"), (Error{Status::kInvalidArgument, Field::kRegex, 2}));
  EXPECT_EQ(error("ab(?=c)"), (Error{Status::kInvalidArgument, Field::kRegex, 2}));
  EXPECT_EQ(error("abc\\8"), (Error{Status::kInvalidArgument, Field::kRegex, 3}));
  EXPECT_EQ(error("*"), (Error{Status::kInvalidArgument, Field::kRegex, 0}));
  EXPECT_EQ(error("((a{1000}){1000}){1000}").status, Status::kInvalidArgument);
  EXPECT_EQ(error(std::string(Regex::kBytesMax + 1, 'a')), (Error{Status::kTooLarge, Field::kRegex, 0}));
}

TEST_F(RegexTest, ItsBoundsHoldEveryMatch) {
  const Result<Regex> digits = Regex::compile(R"(/counters/\d+)");
  ASSERT_TRUE(digits->is_bounded());
  EXPECT_TRUE(digits->first().starts_with("/counters/")) << digits->first();
  EXPECT_TRUE(digits->last().starts_with("/counters/")) << digits->last();
  EXPECT_FALSE(Regex::compile(".*x")->is_bounded());
  std::mt19937_64 random(3);
  unsigned matched = 0;
  for (const char* text : {"ab*[x-z]", "(ab|ac)+", "a{2,}b?", "\\xff+a", "(?i)ab.", "a.*", "", "[^a]b"}) {
    const Result<Regex> r = Regex::compile(text);
    ASSERT_TRUE(r.ok()) << text;
    for (int n = 0; n != 20'000; ++n) {
      std::string key(random() % 5, '\0');
      for (char& c : key) c = "aAbBcxyz\xff\0"[random() % 10];
      if (!r->matches(key)) continue;
      ++matched;
      if (!r->is_bounded()) continue;
      ASSERT_LE(r->first(), key) << text;
      ASSERT_GE(r->last(), key) << text;
    }
  }
  EXPECT_GT(matched, 1'000u);
}

TEST_F(RegexTest, ItMoves) {
  Regex none;
  EXPECT_FALSE(none.matches(""));
  Regex some = std::move(*Regex::compile("a+"));
  none = std::move(some);
  EXPECT_TRUE(none.matches("aa"));
  EXPECT_FALSE(some.matches("aa"));
}

}  // namespace
}  // namespace tern::test
